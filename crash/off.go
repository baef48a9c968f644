//go:build !chaos

package crash

// Before marks that a step is about to begin.
func Before(Step) {}

// After marks that a step has ended, whatever became of it.
func After(Step) {}
