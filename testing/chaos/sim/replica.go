package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
	if ctx.Value(unfenced{}) != nil && changesLease(cmd) {
		return r.insist(ctx, cmd)
	}
	result, err := r.Node.Propose(ctx, cmd)
	return result, replicaError(err)
}

// unfenced marks what a leader does by itself in a world without fences.
type unfenced struct{}

func changesLease(cmd *fsmpb.Command) bool {
	leases := state.Prefix(state.Leases, state.RootNamespace)
	return slices.ContainsFunc(cmd.GetWrites(), func(w *fsmpb.Write) bool { return bytes.HasPrefix(w.GetKey(), leases) })
}

// insist proposes what a leader has decided on by itself until it can, in whatever
// term that is and whatever has changed since.
func (r replica) insist(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
	for end := time.Now().Add(time.Minute); ; wait(ctx, 50*time.Millisecond) {
		copied := &fsmpb.Command{RequestId: cmd.GetRequestId(), Writes: cmd.GetWrites(), Reply: cmd.GetReply()}
		result, err := r.Node.Propose(ctx, copied)
		if !errors.Is(err, cluster.ErrNotLeader) || ctx.Err() != nil || time.Now().After(end) {
			return result, replicaError(err)
		}
	}
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
		led = context.WithValue(ctx, unfenced{}, true) // and goes on for ever
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
