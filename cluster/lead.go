package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// lead is one term in which this node leads, from the moment when everything
// of the terms before is applied.
type lead struct {
	term  uint64
	ended chan struct{}
}

// leading follows whether this node leads. What Raft tells of changes only
// wakes it; the truth is in the state and the term.
type leading struct {
	// term is the one that this node leads or has last led.
	term atomic.Uint64
	// refusing are commands that a transfer of leadership blocks.
	refusing refusals

	mu      sync.Mutex
	lead    *lead         // nil while this node does not lead
	changed chan struct{} // closed and replaced when lead was set

	done chan struct{} // closed when nobody follows any more
}

// current is the present lead, or nil.
func (l *leading) current() *lead {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lead
}

func (l *leading) watch() (*lead, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lead, l.changed
}

// set begins or ends a lead, and wakes who waits for either.
func (l *leading) set(next *lead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lead != nil {
		close(l.lead.ended)
	}
	l.lead = next
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leading) start(n *Node) {
	l.done = make(chan struct{})
	wake := make(chan raft.Observation, 1)
	observer := raft.NewObserver(wake, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation:
			return true
		default:
			return false
		}
	})
	n.raft.RegisterObserver(observer)
	go func() {
		defer close(l.done)
		defer l.set(nil)
		defer n.raft.DeregisterObserver(observer)
		n.follow(wake)
	}()
}

// follow keeps leading true to the state of Raft, and puts the time into the
// log while there is nothing else.
func (n *Node) follow(wake <-chan raft.Observation) {
	var tick <-chan time.Time
	if n.config.TickInterval > 0 {
		ticker := time.NewTicker(n.config.TickInterval)
		defer ticker.Stop()
		tick = ticker.C
	}
	retry := time.NewTimer(0)
	defer retry.Stop()
	applied := uint64(0)
	for {
		if settled := n.settle(); !settled {
			retry.Reset(n.config.ElectionTimeout / 8)
		} else if !n.learnTime() {
			retry.Reset(n.config.ElectionTimeout / 2)
		}
		select {
		case <-wake:
		case <-retry.C:
		case <-tick:
			applied = n.tick(applied)
		case <-n.closing:
			return
		case <-n.halted:
			return
		}
	}
}

// tick puts the time into the log if nothing was applied since the last tick.
func (n *Node) tick(applied uint64) uint64 {
	at := n.store.AppliedIndex()
	if l := n.leading.current(); l != nil && at == applied {
		if err := n.proposeNothing(l.term); err != nil {
			n.config.Logger.Debug("the time was not committed", "error", err)
		}
	}
	return at
}

// settle makes the lead agree with the state and term of Raft. It returns
// false if that has to be tried again.
func (n *Node) settle() bool {
	term, leader := n.leaderTerm()
	held := n.leading.current()
	if leader && held != nil && held.term == term {
		return true
	}
	n.leading.set(nil)
	if !leader {
		return true
	}
	n.leading.term.Store(term)
	err := n.agreeOnTime()
	if err == nil {
		err = n.proposeNothing(term)
	}
	if err != nil {
		n.config.Logger.Info("leadership was not established", "term", term, "error", err)
		n.leading.set(nil)
		return false
	}
	n.leading.set(&lead{term: term, ended: make(chan struct{})})
	return true
}

// leaderTerm is the term that this node leads.
func (n *Node) leaderTerm() (uint64, bool) {
	term := n.raft.CurrentTerm()
	return term, n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// proposeNothing commits a command that changes nothing but the time. When it
// is applied, so is everything before it. It is used instead of a barrier of
// Raft, since that does not reach the state machine, whose applied index would
// then stay behind the commit index.
func (n *Node) proposeNothing(term uint64) error {
	nothing := &fsmpb.Command{FenceTerm: term, Time: n.clock.forLog()}
	nothing.Version = fsm.Needs(nothing)
	data, err := fsm.Encode(nothing)
	if err != nil {
		return err
	}
	err = n.awaitOwn(n.raft.Apply(data, enqueueTimeout))
	n.noteTransfer(err)
	return err
}

// LeadContext blocks until this node leads and has applied everything of the
// terms before. It returns the term and a context, derived from ctx, that ends
// when the node no longer leads that term. Until it notices, another node may
// already lead: what must not happen then has to be fenced by the term.
func (n *Node) LeadContext(ctx context.Context) (context.Context, uint64, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, 0, fmt.Errorf("cluster: wait for leadership: %w", err)
		}
		lead, changed := n.leading.watch()
		if lead != nil {
			leadCtx, cancel := context.WithCancelCause(ctx)
			go func() {
				select {
				case <-lead.ended:
					cancel(ErrNotLeader)
				case <-leadCtx.Done():
				}
			}()
			return leadCtx, lead.term, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("cluster: wait for leadership: %w", ctx.Err())
		case <-n.closing:
			return nil, 0, ErrClosed
		case <-n.halted:
			return nil, 0, n.err()
		}
	}
}
