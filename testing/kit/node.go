package kit

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

// node is a cluster.Node as the core sees it.
type node struct {
	*cluster.Node
	id string
}

var _ core.Node = node{}

func (n node) Propose(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
	result, err := n.Node.Propose(ctx, cmd)
	return result, replicaError(err)
}

func (n node) Read(ctx context.Context) (*fsm.View, error) {
	view, err := n.Node.Read(ctx)
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

func (n node) Bootstrap(ctx context.Context) error {
	if err := n.Node.Bootstrap(); err != nil && !errors.Is(err, cluster.ErrBootstrapped) {
		return err
	}
	_, err := n.Lead(ctx)
	return err
}

func (n node) Lead(ctx context.Context) (context.Context, error) {
	led, _, err := n.LeadContext(ctx)
	return led, err
}

func (n node) Status() core.NodeStatus {
	s := n.Node.Status()
	out := core.NodeStatus{
		ID: n.id, Leader: s.Leader && s.Ready, LeaderID: s.LeaderID, LeaderAddress: s.LeaderAddr,
		Term: s.Term, Applied: s.Applied, Committed: s.Commit,
	}
	for _, m := range n.Members() {
		out.Members = append(out.Members, core.Member{ID: m.ID, Address: m.Address, Leader: m.ID == s.LeaderID, Voter: m.Voter})
	}
	return out
}
