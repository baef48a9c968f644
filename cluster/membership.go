package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Member is one node of the cluster, as the latest configuration of Raft has it.
type Member struct {
	ID, Address string
	// Voter says that it counts for the quorum.
	Voter bool
}

// Members returns the nodes of the cluster, as this node knows them.
func (n *Node) Members() []Member {
	var members []Member
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		members = append(members, Member{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return members
}

// AddVoter makes a node a voter, and returns when that is committed. Only the
// leader can; the errors are those of Propose.
func (n *Node) AddVoter(ctx context.Context, id, address string) error {
	return n.reconfigure(ctx, func(timeout time.Duration) raft.Future {
		return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, timeout)
	})
}

// AddNonvoter makes a node a member that only receives the log.
func (n *Node) AddNonvoter(ctx context.Context, id, address string) error {
	return n.reconfigure(ctx, func(timeout time.Duration) raft.Future {
		return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, timeout)
	})
}

// Demote makes a voter a member that only receives the log.
func (n *Node) Demote(ctx context.Context, id string) error {
	return n.reconfigure(ctx, func(timeout time.Duration) raft.Future {
		return n.raft.DemoteVoter(raft.ServerID(id), 0, timeout)
	})
}

// Progress is what a leader knows of another member: where its log ends, and
// how long ago it answered. ok is false if it has not answered this process.
func (n *Node) Progress(id string) (index uint64, silent time.Duration, ok bool) {
	c, ok := n.transport.lastHeard(raft.ServerID(id))
	return c.index, n.config.Clock.Monotonic() - c.at, ok
}

// Remove takes a node out of the cluster.
func (n *Node) Remove(ctx context.Context, id string) error {
	return n.reconfigure(ctx, func(timeout time.Duration) raft.Future {
		return n.raft.RemoveServer(raft.ServerID(id), 0, timeout)
	})
}

func (n *Node) reconfigure(ctx context.Context, change func(timeout time.Duration) raft.Future) error {
	if !n.inflight.enter() {
		return fmt.Errorf("%w: %w", ErrNotProposed, ErrClosed)
	}
	defer n.inflight.leave()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotProposed, err)
	}
	if err := n.await(ctx, change(enqueue(ctx))); err != nil {
		return n.proposeError(err)
	}
	return nil
}

// await waits for a future, or for the end of ctx or of the node, which leave
// the outcome unknown.
func (n *Node) await(ctx context.Context, future raft.Future) error {
	ended, err := n.outcome(future, ctx.Done())
	if ended {
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
	return err
}

// awaitOwn waits for a future of the node's own work, which no caller gives up.
func (n *Node) awaitOwn(future raft.Future) error {
	_, err := n.outcome(future, nil)
	return err
}

// outcome waits for a future, for the end of the node, or until givenUp is closed,
// of which it tells.
func (n *Node) outcome(future raft.Future, givenUp <-chan struct{}) (ended bool, err error) {
	done := make(chan error, 1)
	go func() { done <- future.Error() }()
	select {
	case err := <-done:
		return false, err
	case <-givenUp:
		return true, nil
	case <-n.closing:
	case <-n.halted:
	}
	return false, fmt.Errorf("%w: %w", ErrUnknown, n.err())
}

// enqueue is how long something may wait for its turn.
func enqueue(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return enqueueTimeout
	}
	return max(min(enqueueTimeout, time.Until(deadline)), time.Nanosecond)
}
