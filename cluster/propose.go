package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// enqueueTimeout bounds how long a command waits for its turn when its context
// does not.
const enqueueTimeout = 5 * time.Second

// errTransferStuck is fatal.
var errTransferStuck = errors.New("cluster: a transfer of leadership does not end")

// Propose puts a command into the log and returns what became of it. The
// command belongs to Propose from then on: version and time are stamped here.
//
// A command out of bounds is answered Invalid without being proposed. The
// errors are ErrNotLeader and ErrNotProposed, with which it was not and will
// not be applied, and ErrUnknown; the error of the context is wrapped too. With
// ErrNotProposed may stand ErrTooNew.
func (n *Node) Propose(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
	if !n.inflight.enter() {
		return fsm.Result{}, fmt.Errorf("%w: %w", ErrNotProposed, ErrClosed)
	}
	defer n.inflight.leave()
	if err := n.err(); err != nil {
		return fsm.Result{}, fmt.Errorf("%w: %w", ErrNotProposed, err)
	}
	if n.raft.State() != raft.Leader {
		return fsm.Result{}, ErrNotLeader
	}
	if cmd.Version = n.format.needs(cmd); cmd.Version > n.CommandVersion() {
		return fsm.Result{}, fmt.Errorf("%w: %w", ErrNotProposed, ErrTooNew)
	}
	cmd.Time = n.clock.forLog()
	data, err := n.format.encode(cmd)
	if err != nil {
		return fsm.Result{Code: fsm.Invalid}, nil // an outcome, as it would be in the log
	}
	if err := ctx.Err(); err != nil {
		return fsm.Result{}, fmt.Errorf("%w: %w", ErrNotProposed, err)
	}
	future := n.raft.Apply(data, enqueue(ctx))
	if err := n.await(ctx, future); err != nil {
		return fsm.Result{}, n.proposeError(err)
	}
	n.noteTransfer(nil)
	result, ok := future.Response().(*fsm.Result)
	if !ok {
		return fsm.Result{}, fmt.Errorf("%w: no result", ErrUnknown)
	}
	return *result, nil
}

// proposeError sorts the errors of Raft. Those that it answers before an entry
// is in its log say that nothing happened; of all others that is not known.
func (n *Node) proposeError(err error) error {
	switch {
	case errors.Is(err, ErrUnknown):
		return err
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		n.noteTransfer(err)
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", ErrNotProposed, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}

// noteTransfer halts a node that has refused every command for too long, as refusals
// tell by what became of each.
func (n *Node) noteTransfer(err error) {
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		n.leading.refusing.end()
	} else if n.leading.refusing.note(n.raft.CurrentTerm(), time.Now(), n.config.StallTimeout) {
		go n.halt(errTransferStuck)
	}
}

// StepDown hands leadership to a peer that is up to date, and returns when this
// node no longer leads.
func (n *Node) StepDown(ctx context.Context) error {
	return n.transfer(ctx, n.raft.LeadershipTransfer)
}

// StepDownTo is StepDown for a certain peer, which gets what it lacks first.
func (n *Node) StepDownTo(ctx context.Context, id string) error {
	for _, m := range n.Members() {
		if m.ID == id && m.Voter {
			return n.transfer(ctx, func() raft.Future {
				return n.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(m.Address))
			})
		}
	}
	return fmt.Errorf("cluster: step down: %q is not a voter", id)
}

func (n *Node) transfer(ctx context.Context, begin func() raft.Future) error {
	if !n.inflight.enter() {
		return ErrClosed
	}
	defer n.inflight.leave()
	if n.raft.State() != raft.Leader {
		return ErrNotLeader
	}
	if err := n.await(ctx, begin()); err != nil {
		return fmt.Errorf("cluster: step down: %w", err)
	}
	return nil
}
