package cluster_test

import (
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
)

// TestClockTells: others are told the time that was agreed on, and what the wall
// clock says before, never what only entries say.
func TestClockTells(t *testing.T) {
	t.Parallel()
	hand := &handClock{wall: noon}
	c := cluster.NewClusterClock(hand, 0)
	c.Replayed(noon.Add(-time.Minute).UnixNano())
	c.Applied(noon.Add(-time.Second).UnixNano(), false)
	if got := c.Told(); got != (cluster.PeerTime{Now: noon.UnixNano()}) {
		t.Errorf("told %+v before anything was agreed on", got)
	}
	c.Agreed(noon.UnixNano())
	hand.advance(time.Second)
	hand.wall = noon.Add(-time.Hour)
	if got, want := c.Told(), (cluster.PeerTime{Now: noon.Add(time.Second).UnixNano(), Live: true}); got != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

// TestClockOfABacklog: entries that waited in the log for a node to come back set
// no clock back on which nodes have agreed, and one that knows only such entries is
// put right by what it is told.
func TestClockOfABacklog(t *testing.T) {
	t.Parallel()
	hand := &handClock{wall: noon.Add(time.Hour)}
	c := cluster.NewClusterClock(hand, 0)
	c.Applied(noon.Add(-8*time.Second).UnixNano(), false)
	at(t, c, noon.Add(-8*time.Second))
	c.Agreed(noon.UnixNano())
	at(t, c, noon)
	c.Applied(noon.Add(-5*time.Second).UnixNano(), false)
	at(t, c, noon)
	c.Agreed(noon.Add(-2 * time.Second).UnixNano()) // by one who lags
	at(t, c, noon)
	hand.advance(time.Minute)
	at(t, c, noon.Add(time.Minute))
}

// TestBestTime: what a new leader takes for the time of what it is told.
func TestBestTime(t *testing.T) {
	t.Parallel()
	after := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	known := func(seconds int) cluster.PeerTime {
		return cluster.PeerTime{Now: after(seconds).UnixNano(), Live: true}
	}
	wall := func(seconds int) cluster.PeerTime { return cluster.PeerTime{Now: after(seconds).UnixNano()} }
	for name, c := range map[string]struct {
		stamp int // of the log's last entry
		told  []cluster.PeerTime
		want  int
	}{
		"the latest that is known":                  {-10, []cluster.PeerTime{known(-8), known(0), known(-1)}, 0},
		"what is known rather than walls":           {-10, []cluster.PeerTime{wall(3600), known(-1), wall(5)}, -1},
		"the earlier of two walls":                  {-10, []cluster.PeerTime{wall(3600), wall(0)}, 0},
		"the middle of three":                       {-10, []cluster.PeerTime{wall(3600), wall(0), wall(-5)}, 0},
		"no wall that is behind the log":            {-10, []cluster.PeerTime{wall(0), wall(-3600)}, 0},
		"the middle of those that may be right":     {-10, []cluster.PeerTime{wall(-3600), wall(0), wall(3600), wall(1), wall(-11)}, 1},
		"the log when all walls are behind it":      {-10, []cluster.PeerTime{wall(-3600), wall(-11)}, -10},
		"the log when what is known is no later":    {-10, []cluster.PeerTime{known(-11)}, -10},
		"one's own wall in a cluster of a node":     {-10, []cluster.PeerTime{wall(0)}, 0},
		"a wall that is exactly at the last stamp":  {-10, []cluster.PeerTime{wall(-10), wall(0)}, -10},
		"the known time though it is behind a wall": {-10, []cluster.PeerTime{known(-2), wall(0)}, -2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := time.Unix(0, cluster.BestTime(after(c.stamp).UnixNano(), c.told...))
			if want := after(c.want); !got.Equal(want) {
				t.Errorf("%s, want %s", got.UTC(), want)
			}
		})
	}
}
