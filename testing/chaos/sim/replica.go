package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// replica is a node as the core sees it.
type replica struct {
	*cluster.Node
	id   string
	bugs Bugs
}

var _ core.Node = replica{}

// Propose implements state.Replica.
func (r replica) Propose(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
	if r.bugs.NoFence {
		cmd.FenceTerm = 0
	}
	result, err := r.Node.Propose(ctx, cmd)
	return result, replicaError(err)
}

// Read implements state.Replica.
func (r replica) Read(ctx context.Context) (*fsm.View, error) {
	view, err := r.Node.Read(ctx)
	return view, replicaError(err)
}

func replicaError(err error) error {
	switch {
	case errors.Is(err, cluster.ErrUnknown):
		return fmt.Errorf("%w: %w", state.ErrUnknownOutcome, err)
	case errors.Is(err, cluster.ErrNotLeader), errors.Is(err, cluster.ErrNotProposed):
		return fmt.Errorf("%w: %w", state.ErrNotLeader, err)
	}
	return err
}

// Bootstrap implements core.Node; the world has founded the cluster.
func (r replica) Bootstrap(ctx context.Context) error {
	_, err := r.Lead(ctx)
	return err
}

// Lead implements core.Node.
func (r replica) Lead(ctx context.Context) (context.Context, error) {
	led, _, err := r.LeadContext(ctx)
	if err == nil && r.bugs.NoFence {
		led = ctx // and goes on for ever
	}
	return led, err
}

// Status implements core.Node.
func (r replica) Status() core.NodeStatus {
	s := r.Node.Status()
	out := core.NodeStatus{
		ID: r.id, Leader: s.Leader && s.Ready, LeaderID: s.LeaderID, LeaderAddress: s.LeaderAddr,
		Term: s.Term, Applied: s.Applied, Committed: s.Commit,
	}
	for _, m := range r.Members() {
		out.Members = append(out.Members, core.Member{ID: m.ID, Address: m.Address, Leader: m.ID == s.LeaderID, Voter: m.Voter})
	}
	return out
}
