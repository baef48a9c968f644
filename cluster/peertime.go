package cluster

import (
	"fmt"
	"slices"
	"time"
)

// PeerTime is a node's idea of cluster time, in Unix nanoseconds. It is Live if
// nodes have agreed on it since the node's process started, and the node's wall
// clock else.
type PeerTime struct {
	Now  int64
	Live bool
}

// Time is what this node tells another one that asks for it.
func (n *Node) Time() PeerTime { return n.clock.told() }

// learnTime has a node that follows ask its leader for the time, once it has one.
// Until then it knows only stamps of entries that may have been in the log for
// long: led by such a node, the cluster would be behind, and what was granted then
// would end early once the time is right. It returns whether nothing is left to do.
func (n *Node) learnTime() bool {
	if n.config.PeerTime == nil || n.clock.isFirm() {
		return true
	}
	_, leader := n.raft.LeaderWithID()
	if leader == "" || string(leader) == n.config.NodeID {
		return true // until that changes
	}
	if n.clock.asking.CompareAndSwap(false, true) {
		go func() {
			defer n.clock.asking.Store(false)
			told, err := n.config.PeerTime(string(leader), n.config.ElectionTimeout)
			if err == nil && told.Live {
				n.clock.agreed(told.Now)
			}
		}()
	}
	return false
}

// agreeOnTime is how a new leader comes to the time: the latest that any node has
// that knows it, as time that is behind ends nothing early now, but once it is put
// right. Where nobody of those who answer knows it, the cluster was down, and the
// wall clocks count that are not behind the log, and so wrong for certain: the
// middle one, or the earlier of two, so that a single wrong one ends nothing early.
func (n *Node) agreeOnTime() error {
	if n.config.PeerTime == nil {
		return nil
	}
	all, err := n.askForTime()
	if err != nil {
		return err
	}
	if all.known == 0 {
		// A node that was just started has applied next to nothing yet.
		if err := n.awaitOwn(n.raft.Barrier(enqueueTimeout)); err != nil {
			return fmt.Errorf("apply the log: %w", err)
		}
	}
	n.clock.agreed(all.best(n.clock.stamped()))
	return nil
}

// askForTime asks all voters for the time, and waits for a quorum of answers, and
// a little for the rest.
func (n *Node) askForTime() (*times, error) {
	own := n.clock.told()
	peers, needed := n.quorum()
	within := 2 * n.config.ElectionTimeout
	type answer struct {
		told PeerTime
		err  error
	}
	answers := make(chan answer, len(peers))
	for _, id := range peers {
		go func() {
			told, err := n.config.PeerTime(string(id), within)
			answers <- answer{told, err}
		}()
	}
	soon := time.NewTimer(n.config.ElectionTimeout / 2) // for those who are slow, or away
	defer soon.Stop()
	last := time.NewTimer(within)
	defer last.Stop()
	all := new(times)
	all.add(own)
	heard := 0
	for left := len(peers); left > 0; {
		select {
		case a := <-answers:
			left--
			if a.err != nil {
				continue
			}
			heard++
			all.add(a.told)
			if own.Live && heard >= needed {
				left = 0
			}
		case <-soon.C:
			if heard >= needed {
				left = 0
			}
		case <-last.C:
			left = 0
		case <-n.closing:
			return nil, ErrClosed
		}
	}
	if heard < needed {
		return nil, fmt.Errorf("the time: %w", errUnconfirmed)
	}
	return all, nil
}

// times are what nodes take for the time: some know it, others have a wall clock.
type times struct {
	known int64
	walls []int64
}

func (t *times) add(told PeerTime) {
	if told.Live {
		t.known = max(t.known, told.Now)
	} else {
		t.walls = append(t.walls, told.Now)
	}
}

// best is the time to take, by a log whose last stamp is the one given.
func (t *times) best(stamp int64) int64 {
	walls := slices.DeleteFunc(slices.Clone(t.walls), func(wall int64) bool { return wall < stamp })
	if t.known != 0 || len(walls) == 0 {
		return max(t.known, stamp)
	}
	slices.Sort(walls)
	return walls[(len(walls)-1)/2]
}
