//go:build chaos

package crash

import (
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
)

// point is where the process is to end.
type point struct {
	step  Step
	after bool
	left  atomic.Int64
}

var armed atomic.Pointer[point]

// Arm has the process end itself, as kill -9 would, when a step begins for the
// nth time from now, or has ended.
func Arm(step Step, after bool, nth int) error {
	if !slices.Contains(Steps(), step) || nth < 1 {
		return fmt.Errorf("crash: there is no %q number %d", step, nth)
	}
	p := &point{step: step, after: after}
	p.left.Store(int64(nth))
	armed.Store(p)
	return nil
}

// Disarm ends an Arm.
func Disarm() { armed.Store(nil) }

// Before marks that a step is about to begin.
func Before(s Step) { pass(s, false) }

// After marks that a step has ended, whatever became of it.
func After(s Step) { pass(s, true) }

func pass(s Step, after bool) {
	p := armed.Load()
	if p == nil || p.step != s || p.after != after || p.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // until it is heard
}
