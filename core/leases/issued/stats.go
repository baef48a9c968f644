package issued

import (
	"bytes"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/leases"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Buckets are the upper bounds, in seconds, of how long making things takes.
var Buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// Done is what this node has done for a mount since it was unsealed.
type Done struct {
	// Making is how many things are being made. Made and Failed are how many were
	// and were not; Took and Within, how long that took, altogether and within each
	// of Buckets.
	Making       int
	Made, Failed uint64
	Took         time.Duration
	Within       []uint64
	// Undone is how many leases were undone, Refused how often one could not be.
	Undone, Refused uint64
}

// Standing is how many leases of a mount there are.
type Standing struct{ Live, Revoking, Stuck int }

// Stats are figures about leases, by the accessors of mounts.
type Stats struct {
	Done     map[string]Done
	Standing map[string]Standing
	// Held says that leases are held since a snapshot was restored.
	Held bool
}

const (
	// maxCounted bounds the mounts that are told apart; others are one.
	maxCounted = 256
	otherMount = "other"
	// Standing leases are counted when somebody asks, but not before countPause,
	// nor before countFactor times as long as counting took.
	countPause  = 10 * time.Second
	countFactor = 50
)

// stats keeps the figures. It is safe for concurrent use.
type stats struct {
	mu   sync.Mutex
	done map[string]*Done

	counting sync.Mutex
	standing map[string]Standing
	next     time.Time
}

func (s *stats) note(mount string, fn func(d *Done)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.done[mount]
	if d == nil && len(s.done) >= maxCounted {
		mount = otherMount
		d = s.done[mount]
	}
	if d == nil {
		if s.done == nil {
			s.done = make(map[string]*Done)
		}
		d = &Done{Within: make([]uint64, len(Buckets))}
		s.done[mount] = d
	}
	fn(d)
}

// making notes that something is being made. What it returns is called when
// that has ended.
func (s *stats) making(mount string) (ended func(err error)) {
	began := time.Now()
	s.note(mount, func(d *Done) { d.Making++ })
	return func(err error) {
		took := time.Since(began)
		s.note(mount, func(d *Done) {
			d.Making--
			if err != nil {
				d.Failed++
				return
			}
			d.Made++
			d.Took += took
			for i, bound := range Buckets {
				if took.Seconds() <= bound {
					d.Within[i]++
				}
			}
		})
	}
}

func (s *stats) undone(mount string, all int, failed []error) {
	s.note(mount, func(d *Done) {
		for _, err := range failed {
			if err != nil {
				d.Refused++
				all--
			}
		}
		d.Undone += uint64(max(0, all)) // #nosec G115 -- not negative
	})
}

// Stats returns the figures, as this node has them. Those that stand may be as
// old as counting them is dear.
func (s *Issued) Stats(store *state.Store) (Stats, error) {
	out := Stats{Done: make(map[string]Done)}
	s.stats.mu.Lock()
	for mount, d := range s.stats.done {
		copied := *d
		copied.Within = append([]uint64(nil), d.Within...)
		out.Done[mount] = copied
	}
	s.stats.mu.Unlock()
	s.stats.counting.Lock()
	defer s.stats.counting.Unlock()
	began := time.Now()
	err := store.Local(func(tx *state.Tx) error {
		held, err := heldOf(tx)
		if out.Held = held != nil; err != nil || began.Before(s.stats.next) {
			return err
		}
		s.stats.standing, err = s.count(tx)
		s.stats.next = began.Add(max(countPause, countFactor*time.Since(began)))
		return err
	})
	out.Standing = s.stats.standing
	return out, err
}

// count counts the leases of the mounts that issue.
func (s *Issued) count(tx *state.Tx) (map[string]Standing, error) {
	router, err := s.deps.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Standing)
	for _, m := range router.All() {
		if m.Class != engines.ClassSecret || m.Engine == nil || m.Engine.Revoke == nil || len(out) >= maxCounted {
			continue
		}
		dir, err := region(tx).Key(m.Path)
		if err != nil {
			return nil, err
		}
		n := 0
		if err := tx.ScanKeys(dir, func([]byte) ([]byte, error) { n++; return nil, nil }); err != nil {
			return nil, err
		}
		out[m.Accessor] = Standing{Live: n}
	}
	err = tx.Scan(state.Prefix(state.Undoing, state.RootNamespace), func(key []byte, place *state.Row) error {
		r, err := load(tx, string(place.Value))
		if err != nil || r == nil || !bytes.Equal(r.place(), key) {
			return err
		}
		name := r.Mount
		if _, known := out[name]; !known && len(out) >= maxCounted {
			name = otherMount
		}
		c := out[name]
		if c.Revoking++; r.Attempts >= leases.StuckAfter {
			c.Stuck++
		}
		c.Live = max(0, c.Live-1)
		out[name] = c
		return nil
	})
	return out, err
}
