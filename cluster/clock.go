package cluster

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Clock is what a node knows of time by itself.
type Clock interface {
	// Monotonic is the time since some fixed moment; it is never set.
	Monotonic() time.Duration
	// Wall is the time of day, which may be wrong and may jump.
	Wall() time.Time
}

// systemClock is the clock of the machine.
type systemClock struct{ start time.Time }

func (c systemClock) Monotonic() time.Duration { return time.Since(c.start) }
func (c systemClock) Wall() time.Time          { return time.Now() }

// anchorWindow is how long the best offset between the stamps of the leader
// and the own monotonic clock is kept. A clock that runs fast is corrected
// within two of them.
const anchorWindow = time.Minute

// clusterClock derives cluster time from the stamps of applied entries and the
// monotonic clock. All values are in nanoseconds.
//
// An entry reaches a follower some time after it was stamped, so each one gives
// an offset that is too small by its delay; the largest of the last minute or
// two is the best there is. The leader's own entries say nothing that it does
// not know, so they never set its clock back.
type clusterClock struct {
	clock Clock

	mu     sync.Mutex
	stamp  int64 // of the last applied entry
	last   int64 // the last time told
	offset int64 // cluster time minus monotonic time
	live   bool  // an entry arrived since the process started
	// firm says that the time was agreed on since the process started, here or by the
	// leader that told it: entries alone may all have been old when they came.
	firm   bool
	asking atomic.Bool // the leader, for the time
	// trusted says that the wall clock may tell how long the node was down.
	trusted bool

	windowStart        int64
	current, preceding int64 // largest offsets of two windows
}

// newClusterClock begins with the stamp of the stored state. The wall clock
// counts only here: if all nodes were down, it tells for how long.
func newClusterClock(c Clock, stamp int64) *clusterClock {
	return &clusterClock{
		clock: c, stamp: stamp,
		offset: max(stamp, c.Wall().UnixNano()) - int64(c.Monotonic()),
	}
}

// now is cluster time. Once live it never goes back; before, it is a guess that
// the first entry from a leader replaces.
func (c *clusterClock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, c.stamp, int64(c.clock.Monotonic())+c.offset)
	return c.last
}

// forLog is cluster time for a command: not what only the wall clock says, unless
// that is trusted.
func (c *clusterClock) forLog() int64 {
	if !c.doubtful() {
		return c.now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stamp
}

func (c *clusterClock) doubtful() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.live && !c.trusted
}

// told is the time as others may take it over. What only entries say may lag
// behind, and is not told, but what the wall clock says.
func (c *clusterClock) told() PeerTime {
	if !c.isFirm() {
		return PeerTime{Now: c.clock.Wall().UnixNano()}
	}
	return PeerTime{Now: c.now(), Live: true}
}

// stamped is the stamp of the last applied entry.
func (c *clusterClock) stamped() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stamp
}

func (c *clusterClock) isFirm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.firm
}

// agreed takes over the time that nodes have agreed on.
func (c *clusterClock) agreed(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono := int64(c.clock.Monotonic())
	offset := max(now, c.stamp) - mono
	if c.live {
		offset = max(offset, c.offset)
	} else {
		c.last = 0
	}
	c.offset, c.current, c.preceding, c.windowStart = offset, offset, offset, mono
	c.live, c.firm = true, true
}

// replayed tells of the stamp of an entry that was in the log at the start.
func (c *clusterClock) replayed(stamp int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stamp = max(c.stamp, stamp)
	c.offset = max(c.offset, stamp-int64(c.clock.Monotonic()))
}

// applied tells of the stamp of an entry that arrived since; own says that this
// node stamped it. A stamp that is not later than the last says nothing: an
// entry of Raft's own, as the first of a new cluster is, has none, and to take
// the old stamp for the present would set the clock back.
func (c *clusterClock) applied(stamp int64, own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stamp <= c.stamp {
		return
	}
	mono := int64(c.clock.Monotonic())
	offset := stamp - mono
	c.stamp = stamp
	switch {
	case own:
		c.offset = max(c.offset, offset)
		c.current, c.preceding, c.windowStart = c.offset, c.offset, mono
	case !c.live:
		c.last = 0
		c.current, c.preceding, c.windowStart = offset, math.MinInt64, mono
		c.offset = offset
	case mono-c.windowStart > int64(anchorWindow):
		c.current, c.preceding, c.windowStart = offset, c.current, mono
		c.offset = max(c.current, c.preceding)
	default:
		c.current = max(c.current, offset)
		c.offset = max(c.current, c.preceding)
	}
	c.live = true
}
