package cluster

import (
	"sync/atomic"
	"time"
)

// refusals watch for a transfer of leadership that the library forgets to end
// (hashicorp/raft issue 696): it refuses every command from then on, also when the node
// leads again, and only a restart helps.
type refusals struct{ row atomic.Pointer[refusalRow] }

// refusalRow is refused commands in a row, in one term.
type refusalRow struct {
	term        uint64
	first, last time.Time
}

// end notes that a command was not refused.
func (r *refusals) end() {
	if r.row.Load() != nil {
		r.row.Store(nil)
	}
}

// apart is how many limits may lie between refusals of one transfer: a leader that is
// idle asks as rarely as the time goes into the log.
const apart = 3

// note notes that one was, and reports whether all have been for longer than a limit.
// Refusals of another term, or with long between them, are of another transfer.
func (r *refusals) note(term uint64, now time.Time, limit time.Duration) (stuck bool) {
	row := r.row.Load()
	if row == nil || row.term != term || now.Sub(row.last) > apart*limit {
		row = &refusalRow{term: term, first: now}
	}
	r.row.Store(&refusalRow{term: term, first: row.first, last: now})
	return now.Sub(row.first) > limit
}
