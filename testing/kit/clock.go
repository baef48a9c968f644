package kit

import (
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
)

// Clock is a node's clock that only the test moves. Its wall clock and its
// monotonic clock go together, unless the wall clock is set.
type Clock struct {
	start       time.Time
	passed, set atomic.Int64
}

var _ cluster.Clock = (*Clock)(nil)

// NewClock returns a clock that stands at the present.
func NewClock() *Clock { return &Clock{start: time.Now()} }

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) { c.passed.Add(int64(d)) }

// Monotonic implements cluster.Clock.
func (c *Clock) Monotonic() time.Duration { return time.Duration(c.passed.Load()) }

// Wall implements cluster.Clock.
func (c *Clock) Wall() time.Time { return c.start.Add(c.Monotonic() + time.Duration(c.set.Load())) }

// Set has the wall clock jump, as somebody who sets it does.
func (c *Clock) Set(by time.Duration) { c.set.Add(int64(by)) }
