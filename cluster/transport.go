package cluster

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// errHalted is what the peers' side of a halted node sees: nothing leaves it.
var errHalted = errors.New("cluster: this node is halted")

// transport wraps the transport that Raft is given.
//
// It takes away the fast path for heartbeats, which changes the term beside the
// main loop of Raft, so that a deposed leader may write entries under the new
// term (hashicorp/raft issue 695). And it notes which peer answered what was
// sent when: the library counts for VerifyLeader also the answer to a heartbeat
// that was sent before VerifyLeader was called, which after a pause of the
// process may be from before another leader was elected.
type transport struct {
	raft.Transport
	preVote raft.WithPreVote
	clock   Clock
	halted  atomic.Bool
	sent    atomic.Uint64 // numbers requests in the order they were sent

	mu      sync.Mutex
	acks    map[raft.ServerID]ack
	heard   map[raft.ServerID]contact
	changed chan struct{} // closed and replaced when acks changes; nil: nobody waits
}

// ack is the latest request of a term that a peer answered.
type ack struct{ term, request uint64 }

// contact is what a peer told last: the end of its log, and when.
type contact struct {
	index uint64
	at    time.Duration // monotonic
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

func newTransport(inner raft.Transport, clock Clock) (*transport, error) {
	preVote, ok := inner.(raft.WithPreVote)
	if !ok {
		return nil, errors.New("cluster: the transport does not support pre-vote")
	}
	return &transport{
		Transport: inner, preVote: preVote, clock: clock,
		acks: make(map[raft.ServerID]ack), heard: make(map[raft.ServerID]contact),
	}, nil
}

// SetHeartbeatHandler leaves heartbeats to the main loop of Raft.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if t.halted.Load() {
		return errHalted
	}
	return t.preVote.RequestPreVote(id, target, req, resp)
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.halted.Load() {
		return errHalted
	}
	request := t.sent.Add(1)
	if err := t.Transport.AppendEntries(id, target, req, resp); err != nil {
		return err
	}
	t.hear(id, resp.LastLog)
	if resp.Term == req.Term {
		t.note(id, ack{req.Term, request})
	}
	return nil
}

// hear notes how far a peer is. Entries may go by a pipeline of the library's,
// but heartbeats come here, and are answered with the end of the log too.
func (t *transport) hear(id raft.ServerID, index uint64) {
	now := t.clock.Monotonic()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard[id] = contact{index, now}
}

// lastHeard is what a peer told last; false if it has told nothing.
func (t *transport) lastHeard(id raft.ServerID) (contact, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.heard[id]
	return c, ok
}

func (t *transport) note(id raft.ServerID, a ack) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.acks[id]; a.term < old.term || a.term == old.term && a.request <= old.request {
		return
	}
	t.acks[id] = a
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// mark returns a number that every request sent from now on is above.
func (t *transport) mark() uint64 { return t.sent.Load() }

// acked counts the peers that answered, in a term, a request sent after mark.
// The channel is closed when there is a reason to count again.
func (t *transport) acked(peers []raft.ServerID, term, mark uint64) (int, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, id := range peers {
		if a := t.acks[id]; a.term == term && a.request > mark {
			n++
		}
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return n, t.changed
}

// Close implements raft.WithClose.
func (t *transport) Close() error {
	if c, ok := t.Transport.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}
