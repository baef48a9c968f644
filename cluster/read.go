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
// closes the view. Any node answers: one that does not lead asks the leader for
// the index, and waits for one over an election, for HoldTimeout at most.
// Errors are ErrNotLeader if there is none, ErrClosed, and that of ctx.
func (n *Node) Read(ctx context.Context) (*fsm.View, error) {
	if !n.inflight.enter() {
		return nil, ErrClosed
	}
	defer n.inflight.leave()
	index, err := n.readIndex(ctx)
	if errors.Is(err, ErrNotLeader) && n.config.ReadIndex != nil {
		index, err = n.askUntil(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := n.store.WaitApplied(ctx, index); err != nil {
		return nil, fmt.Errorf("cluster: wait for index %d: %w", index, err)
	}
	v := n.store.View()
	if v == nil {
		return nil, ErrClosed
	}
	return v, nil
}

// ReadIndex returns the index that a view has to have for reads of it to be
// linearizable, if this node leads; else the error is ErrNotLeader.
//
// It is the commit index at some moment after the call and after this leader
// applied an entry of its own term; that it led at that moment is confirmed by
// a quorum that answered, in this term, something sent later.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) {
	if !n.inflight.enter() {
		return 0, ErrClosed
	}
	defer n.inflight.leave()
	return n.readIndex(ctx)
}

func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	if err := n.err(); err != nil {
		return 0, err
	}
	lead, err := n.awaitLead(ctx)
	if err != nil {
		return 0, err
	}
	index, err := n.confirmed(ctx, lead.term)
	if err != nil {
		return 0, err
	}
	return n.applicable(index), nil
}

// errNoLeader is that no leader is known.
var errNoLeader = errors.New("no leader is known")

// askUntil asks whoever leads, again and again until somebody answers.
func (n *Node) askUntil(ctx context.Context) (uint64, error) {
	held, cancel := context.WithTimeout(ctx, n.config.HoldTimeout)
	defer cancel()
	for {
		r := n.asks.join(func() (uint64, error) { return n.ask(held) })
		select {
		case <-r.done:
		case <-held.Done():
			r = &round{err: held.Err()}
		case <-n.closing:
			return 0, ErrClosed
		case <-n.halted:
			return 0, n.err()
		}
		if r.err == nil {
			return r.index, nil
		}
		if n.raft.State() == raft.Leader { // it has been elected itself
			if index, err := n.readIndex(held); !errors.Is(err, ErrNotLeader) {
				return index, err
			}
		}
		pause := time.NewTimer(n.config.ElectionTimeout / 8)
		select {
		case <-pause.C:
		case <-held.Done():
			pause.Stop()
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			return 0, fmt.Errorf("%w: %w", ErrNotLeader, r.err)
		case <-n.closing:
			pause.Stop()
			return 0, ErrClosed
		}
	}
}

// ask asks the present leader, for everybody who waits. What ends the wait of
// the one who came first does not end it for the others.
func (n *Node) ask(ctx context.Context) (uint64, error) {
	_, leader := n.raft.LeaderWithID()
	if leader == "" || leader == raft.ServerID(n.config.NodeID) {
		return 0, errNoLeader
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*n.config.ElectionTimeout)
	defer cancel()
	return n.config.ReadIndex(ctx, string(leader))
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

// applicable is an index that the state machine reaches, and that no entry up
// to a commit index is missing at: the entries that Raft makes for itself do not
// come to the state machine.
func (n *Node) applicable(commit uint64) uint64 {
	for index := commit; index > n.store.AppliedIndex(); index-- {
		var entry raft.Log
		if err := n.stores.log.GetLog(index, &entry); err != nil {
			break // cut off behind a snapshot, which has it
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			return index
		}
	}
	return n.store.AppliedIndex()
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
