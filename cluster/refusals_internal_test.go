package cluster

import (
	"testing"
	"time"
)

// TestRefusals: only a transfer that goes on and on is stuck, not several that end.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	type step struct {
		term uint64
		at   time.Duration
		done bool
		want bool
	}
	for name, steps := range map[string][]step{
		"one transfer without end":       {{1, 0, false, false}, {1, 6 * time.Second, false, false}, {1, 11 * time.Second, false, true}},
		"in a later term, again":         {{1, 0, false, false}, {3, 20 * time.Second, false, false}, {3, 26 * time.Second, false, false}, {3, 31 * time.Second, false, true}},
		"as rarely as time is logged":    {{1, 0, false, false}, {1, 11 * time.Second, false, true}},
		"a command between":              {{1, 0, false, false}, {1, 5 * time.Second, true, false}, {1, 11 * time.Second, false, false}},
		"two transfers of two terms":     {{1, 0, false, false}, {2, 11 * time.Second, false, false}},
		"two transfers, hours between":   {{1, 0, false, false}, {1, 2 * time.Hour, false, false}, {1, 2*time.Hour + time.Second, false, false}},
		"many refusals of one that ends": {{1, 0, false, false}, {1, time.Second, false, false}, {1, 9 * time.Second, false, false}},
	} {
		var r refusals
		began := time.Now()
		for i, s := range steps {
			if s.done {
				r.end()
			} else if got := r.note(s.term, began.Add(s.at), limit); got != s.want {
				t.Errorf("%s: step %d: stuck is %v", name, i, got)
			}
		}
	}
}
