package cluster

import (
	"fmt"
	"slices"
	"time"
)

// PeerTime is a node's idea of cluster time, in Unix nanoseconds. It is Live if it
// rests on an entry that has reached the node since its process started, and else
// on its wall clock.
type PeerTime struct {
	Now  int64
	Live bool
}

// Time is what this node tells another one that asks for it.
func (n *Node) Time() PeerTime { return n.clock.told() }

// agreeOnTime is how a new leader that has not heard of anything since its
// process started comes to the time: else a node whose clock was set while it was
// away would take the time with it. Where nobody of those who answer has heard of
// anything, the cluster was down, and the wall clocks count: the middle one, or
// the earlier of two, so that a single wrong one ends nothing early.
func (n *Node) agreeOnTime() error {
	if !n.clock.doubtful() {
		return nil
	}
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
	heard, live, best := 0, false, int64(0)
	walls := []int64{n.clock.now()}
	for left := len(peers); left > 0; {
		select {
		case a := <-answers:
			left--
			if a.err != nil {
				continue
			}
			heard++
			if a.told.Live {
				live, best = true, max(best, a.told.Now)
			}
			walls = append(walls, a.told.Now)
		case <-soon.C:
			if heard >= needed {
				left = 0
			}
		case <-last.C:
			left = 0
		case <-n.closing:
			return ErrClosed
		}
	}
	if heard < needed {
		return fmt.Errorf("the time: %w", errUnconfirmed)
	}
	if !live {
		slices.Sort(walls)
		best = walls[(len(walls)-1)/2]
	}
	n.clock.agreed(best)
	return nil
}
