package issued

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// The leader compares each target that marks things with the leases by itself.
const (
	// sweepEvery is how old the last report of a target is then.
	sweepEvery = time.Hour
	// sweepGrace is how long ago what it removes was issued at least: long enough
	// that somebody can look at the reports before.
	sweepGrace = 24 * time.Hour
	// sweepPause is after how long it is seen whether there is anything to compare,
	// also with targets that did not answer, and sweepFactor how many times as long as
	// it took nothing is compared.
	sweepPause  = 10 * time.Minute
	sweepFactor = 100
)

// sweeping is how comparing goes. It belongs to Issued.mu.
type sweeping struct {
	busy bool
	// next is in cluster time.
	next time.Time
}

// sweep has the targets compared, if it is time for that.
func (s *Issued) sweep(ctx context.Context, store *state.Store, workers *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sweeping.busy || store.Now().Before(s.sweeping.next) {
		return
	}
	s.sweeping.busy = true
	workers.Go(func() {
		began := store.Now()
		if err := s.sweepAll(ctx, store); err != nil && ctx.Err() == nil {
			s.deps.Log.Warn("what stands at a target could not be compared with the leases", "error", err, "cause", errors.Unwrap(err))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		now := store.Now()
		s.sweeping = sweeping{next: now.Add(max(sweepPause, sweepFactor*now.Sub(began)))}
	})
}

// swept is a target to be compared.
type swept struct {
	mount  *mounts.Mounted
	target string
}

func (s *Issued) sweepAll(ctx context.Context, store *state.Store) error {
	var list []swept
	err := store.Local(func(tx *state.Tx) (err error) {
		list, err = s.unswept(tx)
		return err
	})
	problems := []error{err}
	for _, t := range list {
		if ctx.Err() != nil {
			break
		}
		problems = append(problems, s.sweepOne(ctx, store, t))
	}
	return errors.Join(problems...)
}

// unswept lists the targets whose last report is old, or that have none.
func (s *Issued) unswept(tx *state.Tx) (list []swept, err error) {
	router, err := s.deps.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, m := range router.All() {
		if m.Engine == nil || m.Engine.Marked == nil || m.Engine.Targets == nil {
			continue
		}
		var targets []string
		err := s.reach(tx.Store(), m).Look(func(tx engines.Tx) (err error) {
			targets, err = m.Engine.Targets(tx)
			return err
		})
		problems = append(problems, err) // which is no matter of the other mounts
		for _, target := range targets {
			last, err := tx.Peek(reportKey(m.Accessor, target))
			if err != nil {
				return nil, err
			}
			var told report
			if last == nil || json.Unmarshal(last.Value, &told) != nil || tx.Now().Sub(told.Time) >= sweepEvery {
				list = append(list, swept{m, target})
			}
		}
	}
	return list, errors.Join(problems...)
}

// sweepOne compares a target, and removes what nobody has leased for long, unless
// a snapshot was restored that may not know of the lease.
func (s *Issued) sweepOne(ctx context.Context, store *state.Store, t swept) error {
	out, err := s.compared(ctx, store, t.mount, t.target, sweepGrace)
	if err != nil {
		return err
	}
	rep := out.report
	// Only who still leads can commit, and so removes.
	_, err = store.Update(ctx, func(tx *state.Tx) error {
		held, err := heldOf(tx)
		if err != nil {
			return err
		}
		rep.DryRun = held != nil
		return rep.put(tx, out.mount.Accessor)
	})
	if err != nil {
		return err
	}
	if rep.Unleased > 0 {
		s.deps.Log.Warn("there are things that no lease is for (sys/leases/reconcile)", "mount", out.mount.Accessor, "unleased", rep.Unleased, "to_remove", rep.Removable)
	}
	if rep.DryRun || rep.Removable == 0 {
		return nil
	}
	failed := s.removeFound(ctx, store, out, &rep)
	_, err = store.Update(ctx, func(tx *state.Tx) error { return rep.put(tx, out.mount.Accessor) })
	return errors.Join(failed, err)
}
