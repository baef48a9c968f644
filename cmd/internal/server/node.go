package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

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
	// address is where its peers reach it.
	address string
	cancel  context.CancelFunc
	done    chan struct{}
	peers   *peers

	mu    sync.Mutex
	term  uint64 // that since is of
	since time.Time
}

var _ core.Node = (*node)(nil)

// newNode begins to note since when the node leads; Close, or the end of ctx,
// ends that.
func newNode(ctx context.Context, n *cluster.Node, peers *peers, address string) *node {
	ctx, cancel := context.WithCancel(ctx)
	out := &node{Node: n, id: peers.id, peers: peers, address: address, cancel: cancel, done: make(chan struct{})}
	go out.noteTerms(ctx)
	return out
}

func (n *node) noteTerms(ctx context.Context) {
	defer close(n.done)
	for {
		led, term, err := n.LeadContext(ctx)
		if err != nil {
			return
		}
		n.mu.Lock()
		n.term, n.since = term, time.Now()
		n.mu.Unlock()
		n.readdress(led)
		<-led.Done()
	}
}

// Close ends the node.
func (n *node) Close() error {
	n.cancel()
	<-n.done
	return n.Node.Close()
}

// Propose implements state.Replica.
func (n *node) Propose(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
	result, err := n.Node.Propose(ctx, cmd)
	return result, replicaError(err)
}

// Read implements state.Replica.
func (n *node) Read(ctx context.Context) (*fsm.View, error) {
	view, err := n.Node.Read(ctx)
	return view, replicaError(err)
}

// replicaError gives an error of the cluster the meaning that the core asks
// for. What is neither had no outcome that could be unknown: a read, or a
// command that was not proposed.
func replicaError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrUnknown):
		return fmt.Errorf("%w: %w", state.ErrUnknownOutcome, err)
	case errors.Is(err, cluster.ErrNotLeader), errors.Is(err, cluster.ErrNotProposed):
		return fmt.Errorf("%w: %w", state.ErrNotLeader, err)
	}
	return err
}

// Bootstrap implements core.Node.
func (n *node) Bootstrap(ctx context.Context) error {
	if err := n.Node.Bootstrap(); err != nil && !errors.Is(err, cluster.ErrBootstrapped) {
		return err
	}
	return n.waitLead(ctx)
}

// waitLead returns when the node leads.
func (n *node) waitLead(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, _, err := n.LeadContext(ctx)
	return err
}

// Lead implements core.Node.
func (n *node) Lead(ctx context.Context) (context.Context, error) {
	led, _, err := n.LeadContext(ctx)
	return led, err
}

// Status implements core.Node.
func (n *node) Status() core.NodeStatus {
	s := n.Node.Status()
	out := core.NodeStatus{
		ID: n.id, Leader: s.Leader && s.Ready, LeaderID: s.LeaderID, LeaderAddress: clusterURL(s.LeaderAddr),
		Term: s.Term, Applied: s.Applied, Committed: s.Commit,
	}
	n.mu.Lock()
	if out.Leader && n.term == s.Term {
		out.LeadingSince = n.since
	}
	n.mu.Unlock()
	for _, m := range n.Members() {
		told := n.peers.told(m.ID)
		out.Members = append(out.Members, core.Member{
			ID: m.ID, Address: clusterURL(m.Address), Leader: m.ID == s.LeaderID, Voter: m.Voter,
			APIAddress: told.APIAddr, Host: told.Host, Version: told.Version, Seen: told.Seen,
		})
	}
	return out
}

// alone reports whether the node is the only member of its cluster.
func (n *node) alone() bool {
	members := n.Members()
	return len(members) == 1 && members[0].ID == n.id
}

// clusterURL is a peer's address in the form that the API tells it.
func clusterURL(address string) string {
	if address == "" {
		return ""
	}
	return "https://" + address
}

// readdress tells the others where this node is reached, if it has moved.
func (n *node) readdress(ctx context.Context) {
	for _, m := range n.Members() {
		if m.ID != n.id || m.Address == n.address {
			continue
		}
		add := n.AddNonvoter
		if m.Voter {
			add = n.AddVoter
		}
		// The next to lead tries again.
		_ = add(ctx, n.id, n.address)
	}
}
