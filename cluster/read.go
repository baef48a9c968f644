package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
)

// Read returns the state at an index at or above that of every command that
// was answered before the call: reads of it are linearizable. The caller
// closes the view. Errors are ErrNotLeader, also if leadership is lost on the
// way, ErrClosed, and that of ctx.
//
// The index is the commit index at some moment after the call and after this
// leader applied an entry of its own term; that it led at that moment is
// confirmed by a quorum that answered, in this term, something sent later.
func (n *Node) Read(ctx context.Context) (*fsm.View, error) {
	if !n.inflight.enter() {
		return nil, ErrClosed
	}
	defer n.inflight.leave()
	if err := n.err(); err != nil {
		return nil, err
	}
	lead, err := n.awaitLead(ctx)
	if err != nil {
		return nil, err
	}
	index, err := n.confirmed(ctx, lead.term)
	if err != nil {
		return nil, err
	}
	if err := n.store.WaitApplied(ctx, n.applicable(index)); err != nil {
		return nil, fmt.Errorf("cluster: wait for index %d: %w", index, err)
	}
	v := n.store.View()
	if v == nil {
		return nil, ErrClosed
	}
	return v, nil
}

// awaitLead returns the present lead, once it is established.
func (n *Node) awaitLead(ctx context.Context) (*lead, error) {
	for {
		lead, changed := n.leading.watch()
		if lead != nil {
			return lead, nil
		}
		if n.raft.State() != raft.Leader {
			return nil, ErrNotLeader
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.halted:
			return nil, n.err()
		}
	}
}

// confirmed returns a commit index of a confirmed leader.
func (n *Node) confirmed(ctx context.Context, term uint64) (uint64, error) {
	if _, needed := n.quorum(); needed == 0 {
		// The only voter cannot be deposed without its own doing.
		index := n.raft.CommitIndex()
		if now, leader := n.leaderTerm(); !leader || now != term {
			return 0, ErrNotLeader
		}
		return index, nil
	}
	r := n.rounds.join(n.confirm)
	select {
	case <-r.done:
		return r.index, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-n.halted:
		return 0, n.err()
	}
}

// quorum returns the other voters, and how many of them make a quorum with
// this node.
func (n *Node) quorum() (peers []raft.ServerID, needed int) {
	voters := 0
	for _, server := range n.raft.GetConfiguration().Configuration().Servers {
		if server.Suffrage != raft.Voter {
			continue
		}
		voters++
		if server.ID != raft.ServerID(n.config.NodeID) {
			peers = append(peers, server.ID)
		}
	}
	// A leader that is no voter any more does not count itself.
	return peers, voters/2 + 1 - (voters - len(peers))
}

// errUnconfirmed is a round that found no quorum in time.
var errUnconfirmed = errors.New("no quorum answered in time")

// confirm confirms leadership once, for everybody who waits, and returns the
// commit index at its beginning.
func (n *Node) confirm() (uint64, error) {
	l := n.leading.current()
	if l == nil {
		return 0, ErrNotLeader
	}
	peers, needed := n.quorum()
	mark, index := n.transport.mark(), n.raft.CommitIndex()
	n.raft.VerifyLeader() // sends a heartbeat to every peer at once
	timer := time.NewTimer(2 * n.config.ElectionTimeout)
	defer timer.Stop()
	for {
		acked, changed := n.transport.acked(peers, l.term, mark)
		if acked >= needed {
			break
		}
		select {
		case <-changed:
		case <-l.ended:
			return 0, ErrNotLeader
		case <-timer.C:
			return 0, fmt.Errorf("%w: %w", ErrNotLeader, errUnconfirmed)
		case <-n.closing:
			return 0, ErrClosed
		case <-n.halted:
			return 0, n.err()
		}
	}
	if term, leader := n.leaderTerm(); !leader || term != l.term {
		return 0, ErrNotLeader
	}
	return index, nil
}

// applicable is the last index at or below a commit index whose entry reaches
// the state machine: those that Raft makes for itself do not.
func (n *Node) applicable(commit uint64) uint64 {
	for index := commit; index > n.store.AppliedIndex(); index-- {
		var entry raft.Log
		if err := n.stores.log.GetLog(index, &entry); err != nil {
			return n.store.AppliedIndex() // cut off behind a snapshot, which has it
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			return index
		}
	}
	return 0
}

// rounds batches reads: those that come while a round is under way share the
// one after it, so that every round begins after the reads that it serves.
type rounds struct {
	mu      sync.Mutex
	next    *round
	running bool
}

// round is one confirmation of leadership.
type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// join returns a round that has not begun; confirm runs it.
func (rs *rounds) join(confirm func() (uint64, error)) *round {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.next == nil {
		rs.next = &round{done: make(chan struct{})}
	}
	r := rs.next
	if !rs.running {
		rs.running = true
		go rs.run(confirm)
	}
	return r
}

func (rs *rounds) run(confirm func() (uint64, error)) {
	for {
		rs.mu.Lock()
		r := rs.next
		rs.next = nil
		rs.running = r != nil
		rs.mu.Unlock()
		if r == nil {
			return
		}
		r.index, r.err = confirm()
		close(r.done)
	}
}
