package cluster_test

import (
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
)

// handClock is a clock that the test moves.
type handClock struct {
	mono time.Duration
	wall time.Time
}

func (c *handClock) Monotonic() time.Duration { return c.mono }
func (c *handClock) Wall() time.Time          { return c.wall }
func (c *handClock) advance(d time.Duration)  { c.mono += d; c.wall = c.wall.Add(d) }

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func at(t *testing.T, c *cluster.ClusterClock, want time.Time) {
	t.Helper()
	if got := time.Unix(0, c.Now()).UTC(); !got.Equal(want) {
		t.Errorf("cluster time is %s, want %s", got, want)
	}
}

// TestClockBegins: the wall clock counts when nothing else does, and only if it
// is ahead of the last stamp.
func TestClockBegins(t *testing.T) {
	t.Parallel()
	hand := &handClock{mono: time.Hour, wall: noon}
	at(t, cluster.NewClusterClock(hand, 0), noon)
	at(t, cluster.NewClusterClock(hand, noon.Add(-time.Hour).UnixNano()), noon)
	at(t, cluster.NewClusterClock(hand, noon.Add(time.Hour).UnixNano()), noon.Add(time.Hour))
}

// TestClockIgnoresWhatHasNoStamp: the first entry of a new cluster is one of
// Raft's own, and reaches the state before any stamp does.
func TestClockIgnoresWhatHasNoStamp(t *testing.T) {
	t.Parallel()
	for _, stored := range []time.Duration{0, 12 * time.Hour} {
		stamp := int64(0)
		if stored > 0 {
			stamp = noon.Add(-stored).UnixNano()
		}
		hand := &handClock{wall: noon}
		c := cluster.NewClusterClock(hand, stamp)
		c.Applied(stamp, false)
		c.Applied(stamp, true)
		hand.advance(time.Second)
		at(t, c, noon.Add(time.Second))
	}
}

// TestClockFollowsTheLeader: a follower whose wall clock is wrong takes the time
// of the leader, whichever way it is wrong, and keeps it while nothing arrives.
func TestClockFollowsTheLeader(t *testing.T) {
	t.Parallel()
	for _, wrong := range []time.Duration{-time.Hour, time.Hour} {
		hand := &handClock{wall: noon.Add(wrong)}
		c := cluster.NewClusterClock(hand, 0)
		c.Now() // a guess
		c.Applied(noon.UnixNano(), false)
		at(t, c, noon)
		hand.advance(time.Minute)
		at(t, c, noon.Add(time.Minute))
		// One that was long under way does not set the clock back.
		c.Applied(noon.Add(30*time.Second).UnixNano(), false)
		at(t, c, noon.Add(time.Minute))
	}
}

// TestClockIgnoresTheWall: once it runs, a jump of the wall clock is nothing to
// cluster time.
func TestClockIgnoresTheWall(t *testing.T) {
	t.Parallel()
	hand := &handClock{wall: noon}
	c := cluster.NewClusterClock(hand, 0)
	c.Applied(noon.UnixNano(), true)
	hand.wall = noon.Add(-24 * time.Hour)
	hand.mono += time.Second
	at(t, c, noon.Add(time.Second))
	hand.wall = noon.Add(24 * time.Hour)
	hand.mono += time.Second
	at(t, c, noon.Add(2*time.Second))
}

// TestClockNeverGoesBack: entries of a slower leader only slow it down.
func TestClockNeverGoesBack(t *testing.T) {
	t.Parallel()
	hand := &handClock{wall: noon}
	c := cluster.NewClusterClock(hand, 0)
	c.Replayed(noon.Add(-time.Minute).UnixNano())
	c.Applied(noon.UnixNano(), false)
	last := c.Now()
	for i := range 1000 {
		hand.advance(time.Second)
		// The stamps run at half the speed of this clock.
		c.Applied(noon.Add(time.Duration(i)*time.Second/2).UnixNano(), false)
		if now := c.Now(); now < last {
			t.Fatalf("step %d: %d after %d", i, now, last)
		} else {
			last = now
		}
	}
	// It is corrected within two windows of a minute.
	if ahead := time.Duration(last - noon.Add(500*time.Second).UnixNano()); ahead > 2*time.Minute {
		t.Errorf("%s ahead of the leader", ahead)
	}
}
