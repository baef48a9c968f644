package issued

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/crash"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	lookEvery = 250 * time.Millisecond
	// undoBatch is how many things an engine is asked to undo at a time, within
	// undoWithin, and maxQueues how many targets are worked on at a time.
	undoBatch  = batch
	undoWithin = time.Minute
	maxQueues  = 64

	firstPause = time.Second
	longPause  = 5 * time.Minute
	// heldPause is how long a queue is left alone in which all is held.
	heldPause = 2 * time.Second
	// A target waits less than a single lease: others may have fallen due.
	longTargetPause = 15 * time.Second
	// maxErrorText bounds what is kept of an engine's error.
	maxErrorText = 512
)

// backoff is how long to wait after so many failures: up to half as much again,
// so that not all come back at once.
func backoff(failures int) time.Duration {
	d := longPause
	if failures < 10 {
		d = min(d, firstPause<<max(0, failures-1))
	}
	return d + time.Duration(rand.Int64N(int64(d)/2)) // #nosec G404 -- spreads load
}

// queue is how this node does with one target. It belongs to Issued.mu.
type queue struct {
	busy     bool
	failures int
	// until is when it is tried again, in cluster time.
	until time.Time
}

// Lead does the leader's part until ctx ends: it ends what is due, and undoes.
func (s *Issued) Lead(ctx context.Context, store *state.Store) {
	var workers sync.WaitGroup
	defer workers.Wait()
	s.mu.Lock()
	s.queues = make(map[target]*queue) // what was true in an earlier term may not be
	s.sweeping = sweeping{}
	s.mu.Unlock()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		err := s.look(ctx, store, &workers)
		if err != nil && ctx.Err() == nil {
			s.deps.Log.Warn("leases could not be looked after and will be again", "error", err, "cause", errors.Unwrap(err))
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-s.wake:
		}
	}
}

// expire turns the leases whose time is over, and those that were not confirmed
// in time.
func (s *Issued) expire(ctx context.Context, store *state.Store, held *hold) error {
	if held != nil && !s.pace.due(paceHeld) { // what is held is looked at again and again
		return nil
	}
	began := time.Now()
	due, err := overdue(store, held)
	if held != nil {
		s.pace.looked(paceHeld, time.Since(began))
	}
	if err != nil {
		return err
	}
	if len(due) >= maxOverdue {
		defer s.kick() // there may be others: in another round, for what was turned can be undone meanwhile
	}
	for len(due) > 0 {
		some := due[:min(len(due), batch)]
		due = due[len(some):]
		if _, err := store.Update(ctx, func(tx *state.Tx) error { return turn(tx, some) }); err != nil {
			return err
		}
	}
	return nil
}

// turn turns some leases whose time was over.
func turn(tx *state.Tx, ids []string) error {
	held, err := heldOf(tx)
	if err != nil {
		return err
	}
	return each(tx, ids, func(r *row, tx *state.Tx) error {
		if !r.due(tx.Now()) || held.holds(r) {
			return nil // renewed meanwhile
		}
		return r.revoke(tx)
	})
}

// maxOverdue is how many leases that are over are looked for at a time. A scan
// passes over the marks of all that it found before, so it should find many.
const maxOverdue = 8192

// overdue lists leases whose time is over and that are not held.
func overdue(store *state.Store, held *hold) (due []string, err error) {
	prefix := state.Prefix(state.Leases, state.RootNamespace)
	var failed error
	err = store.Local(func(tx *state.Tx) error {
		return tx.Expiring(tx.Now(), 0, func(_ time.Time, key []byte) bool {
			if !bytes.HasPrefix(key, prefix) {
				return true
			}
			var id string
			if id, failed = store.Barrier().OpenName(prefix, key); failed != nil {
				return false
			}
			if held != nil {
				r, err := load(tx, id)
				if failed = err; err != nil || r == nil || held.holds(r) {
					return err == nil
				}
			}
			due = append(due, id)
			return len(due) < maxOverdue
		})
	})
	return due, errors.Join(err, failed)
}

// look does a round of the leader's part.
func (s *Issued) look(ctx context.Context, store *state.Store, workers *sync.WaitGroup) error {
	var held *hold
	err := store.Local(func(tx *state.Tx) (err error) {
		held, err = heldOf(tx)
		return err
	})
	if err != nil {
		return err
	}
	if told := held != nil; told != s.told {
		if s.told = told; told {
			s.deps.Log.Warn("a snapshot was restored: no lease that it brought ends until an operator says so (sys/leases/release)", "snapshot_index", held.Index)
		}
	}
	err = errors.Join(s.expire(ctx, store, held), s.start(ctx, store, workers))
	if held == nil { // whose owners are gone is one of the things that are not known
		err = errors.Join(err, s.end(ctx, store))
	}
	s.sweep(ctx, store, workers)
	return err
}

// due reports whether the lease's time, or that for making it, is over.
func (r *row) due(now time.Time) bool {
	return r.Phase == live && !now.Before(r.Expires) || r.Phase == pending && !now.Before(r.By)
}

// start sets to work on the queues in which something is due.
func (s *Issued) start(ctx context.Context, store *state.Store, workers *sync.WaitGroup) error {
	var ready []target
	err := store.Local(func(tx *state.Tx) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return tx.ScanKeys(state.Prefix(state.Undoing, state.RootNamespace), func(key []byte) ([]byte, error) {
			q, when, ok := parsePlace(key)
			if !ok {
				return nil, engines.Internal(errors.New("issued: a malformed place in a queue"))
			}
			if !when.After(tx.Now()) && s.beginLocked(q, tx.Now()) {
				ready = append(ready, q)
			}
			return q.after(), nil
		})
	})
	for _, q := range ready {
		workers.Go(func() {
			defer s.finish(q)
			r := &run{target: q}
			for s.undo(ctx, store, r) {
			}
			r.wait()
		})
	}
	return err
}

// beginLocked takes a queue unless it is worked on, or waits.
func (s *Issued) beginLocked(t target, now time.Time) bool {
	q := s.queues[t]
	if q == nil {
		q = new(queue)
	}
	if q.busy || now.Before(q.until) || s.busyLocked() >= maxQueues {
		return false
	}
	s.queues[t] = q
	q.busy = true
	return true
}

func (s *Issued) busyLocked() (n int) {
	for _, q := range s.queues {
		if q.busy {
			n++
		}
	}
	return n
}

// finish gives a queue back, and forgets it if nothing is the matter with it.
func (s *Issued) finish(t target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[t]; q != nil {
		if q.busy = false; q.failures == 0 && q.until.IsZero() {
			delete(s.queues, t)
		}
	}
	s.kick()
}

// got notes how a queue's target did, and wakes who waits for that.
func (s *Issued) got(t target, ok bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[t]; q != nil {
		if q.failures++; ok {
			q.failures = 0
		} else {
			q.until = now.Add(min(backoff(q.failures), longTargetPause))
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// run is a worker's way through a queue.
type run struct {
	target target
	// from is up to where all has been removed, or is being: what is left of that in
	// the store need not be passed over for every batch.
	from []byte
	// settling tells how the commit of a batch went that goes on while the target
	// undoes the next one; nil if there is none.
	settling chan bool
}

// wait waits for the commit that goes on, and reports whether it did well.
func (w *run) wait() bool {
	if w.settling == nil {
		return true
	}
	ok := <-w.settling
	if w.settling = nil; !ok {
		w.from = nil
	}
	return ok
}

// next reads a batch of a queue.
func (s *Issued) next(store *state.Store, way *run) (some []*row, held bool, mount *mounts.Mounted, err error) {
	err = store.Local(func(tx *state.Tx) (err error) {
		if some, held, err = s.first(tx, way); err == nil && len(some) > 0 {
			mount, err = s.mount(tx, some[0].Mount)
		}
		return err
	})
	return some, held, mount, err
}

// undo undoes a batch of a queue, and reports whether to go on with it.
func (s *Issued) undo(ctx context.Context, store *state.Store, way *run) bool {
	t := way.target
	began := store.Now()
	some, held, mount, err := s.next(store, way)
	if err == nil && len(some) == 0 && way.from != nil && way.wait() {
		way.from = nil // something may have come in before it
		some, held, mount, err = s.next(store, way)
	}
	if err == nil && len(some) == 0 || ctx.Err() != nil {
		if held {
			s.rest(t, began.Add(heldPause))
		}
		return false
	}
	b := &batched{some: some, began: began, err: err}
	if err == nil {
		b.failed = s.ask(ctx, store, mount, some)
		if ctx.Err() != nil {
			return false // what ended with the lead tells nothing of the target
		}
		s.stats.undone(some[0].Mount, len(some), b.failed)
	}
	if !way.wait() {
		return false
	}
	if err != nil || len(some) < undoBatch || slices.ContainsFunc(b.failed, isError) {
		return s.conclude(ctx, store, t, b)
	}
	way.from = append(some[len(some)-1].place(), 0)
	way.settling = make(chan bool, 1)
	go func(done chan<- bool) { done <- s.conclude(ctx, store, t, b) }(way.settling)
	return true
}

// batched are some leases that an engine was asked to undo, and how it went.
type batched struct {
	some   []*row
	began  time.Time
	failed []error
	// err is why it was not even asked.
	err error
}

// conclude commits how a batch went, and reports whether to go on with its target.
func (s *Issued) conclude(ctx context.Context, store *state.Store, t target, b *batched) bool {
	err := b.err
	if err == nil {
		crash.Before(crash.Settle)
		_, err = store.Update(ctx, func(tx *state.Tx) error { return s.settled(tx, b.some, b.failed, b.began) })
		crash.After(crash.Settle)
	}
	if err != nil && ctx.Err() == nil {
		s.deps.Log.Warn("a lease could not be undone and will be tried again", "error", err, "cause", errors.Unwrap(err))
	}
	// A single lease that fails waits by itself; several may be the target.
	ok := err == nil && (len(b.failed) < 2 || anyDone(b.failed))
	s.got(t, ok, store.Now())
	return ok
}

func isError(err error) bool { return err != nil }

func anyDone(failed []error) bool {
	for _, err := range failed {
		if err == nil {
			return true
		}
	}
	return false
}

// rest leaves a queue alone for a while.
func (s *Issued) rest(t target, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[t]; q != nil {
		q.until = until
	}
}

// first returns the leases of a queue that are due, up to a batch, but for those
// that are held.
func (s *Issued) first(tx *state.Tx, way *run) (some []*row, skipped bool, err error) {
	held, err := heldOf(tx)
	if err != nil {
		return nil, false, err
	}
	end := []byte{byte(state.Undoing) + 1}
	queue := state.Key(state.Undoing, state.RootNamespace, way.target[:])
	err = tx.ScanKeysFrom(queue, way.from, func(key []byte) ([]byte, error) {
		if _, when, ok := parsePlace(key); !ok || when.After(tx.Now()) || len(some) >= undoBatch {
			return end, nil
		}
		place, err := tx.Peek(key)
		if err != nil || place == nil {
			return nil, err
		}
		r, err := load(tx, string(place.Value))
		if err != nil || r == nil || r.Phase != revoking || !bytes.Equal(r.place(), key) {
			return nil, err
		}
		if held.holds(r) {
			skipped = true
			return nil, nil
		}
		if len(some) == 0 {
			way.from = key
		}
		some = append(some, r)
		return nil, nil
	})
	return some, skipped, err
}

// ask has an engine undo a batch. The errors are one for each, or none at all.
func (s *Issued) ask(ctx context.Context, store *state.Store, mount *mounts.Mounted, some []*row) []error {
	all := func(err error) []error {
		out := make([]error, len(some))
		for i := range out {
			out[i] = err
		}
		return out
	}
	if mount == nil || mount.Engine.Revoke == nil {
		return all(errors.New("there is no mount, or no engine, that could"))
	}
	ctx, cancel := context.WithTimeout(ctx, undoWithin)
	defer cancel()
	list := make([]engines.Revocation, 0, len(some))
	for _, r := range some {
		list = append(list, engines.Revocation{LeaseID: r.id, Target: r.Target, Undo: r.Undo})
	}
	crash.Before(crash.Revoke)
	failed := mount.Engine.Revoke(ctx, s.reach(store, mount), list)
	crash.After(crash.Revoke)
	if len(failed) != 0 && len(failed) != len(some) {
		return all(errors.New("the engine does not say what it has undone"))
	}
	return failed
}

// settled removes what is undone, and puts what is not at the end of its queue.
func (s *Issued) settled(tx *state.Tx, some []*row, failed []error, began time.Time) error {
	for i, was := range some {
		r, err := was.anew(tx)
		if err != nil {
			return err
		}
		if r == nil || r.Phase != revoking || !r.Next.Equal(was.Next) {
			continue // forgotten meanwhile
		}
		switch {
		case len(failed) > 0 && failed[i] != nil:
			err = r.again(tx, failed[i])
		case !r.Confirmed && began.Before(r.By):
			err = r.later(tx)
		default:
			err = r.drop(tx, s.deps.Free)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// again notes a failure.
func (r *row) again(tx *state.Tx, failed error) error {
	if err := tx.Delete(r.place()); err != nil {
		return err
	}
	text := failed.Error()
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "")
	}
	r.Attempts++
	r.LastError, r.Next = text, tx.Now().Add(backoff(r.Attempts))
	return r.enqueue(tx)
}

// later has something that may yet be made undone once more when it no longer
// can be.
func (r *row) later(tx *state.Tx) error {
	if err := tx.Delete(r.place()); err != nil {
		return err
	}
	r.Attempts, r.LastError, r.Next = 0, "", r.By
	return r.enqueue(tx)
}

// paceHeld is the name under which looking for what is due is paced.
var paceHeld = []byte("held")

// pace keeps what takes long from being done all the time. One goroutine uses it.
type pace struct{ next map[string]time.Time }

// paceFactor is how many times as long as it took something is left alone.
const paceFactor = 20

func (p *pace) due(key []byte) bool { return !time.Now().Before(p.next[string(key)]) }

func (p *pace) looked(key []byte, took time.Duration) {
	if p.next == nil || len(p.next) > maxEndings {
		p.next = make(map[string]time.Time)
	}
	p.next[string(key)] = time.Now().Add(paceFactor * took)
}
