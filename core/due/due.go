package due

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
)

const (
	lookEvery = 250 * time.Millisecond
	// readFactor is how many times as long as reading the table took it is left
	// alone, and readAnyway when it is read though nothing seems to have changed.
	readFactor = 10
	readAnyway = 30 * time.Second
	// callWithin bounds one call, perMount how many of a mount run at a time.
	callWithin = 2 * time.Minute
	perMount   = 8

	firstPause = time.Second
	longPause  = 5 * time.Minute
)

// Deps are what the runner needs of the core.
type Deps struct {
	Mounts func() *mounts.Mounts
	// Held tells whether nothing may be done for now.
	Held func(tx *state.Tx) (bool, error)
	Log  *slog.Logger
}

// runner is one lead's work.
type runner struct {
	Deps
	store *state.Store
	// The table is read when it has changed since index, or was read before read,
	// but not before next. These are look's.
	index      uint64
	read, next time.Time
	workers    sync.WaitGroup
	// wake is told when a call has ended.
	wake chan struct{}

	mu sync.Mutex
	// times are what the table held when it was read, and what calls made of it.
	times map[string]entry
	items map[string]*item
	// busy is how many calls run, by the mount's part of the key.
	busy map[string]int
}

// entry is a row: when, and which writing of it. The zero entry is none.
type entry struct {
	at      time.Time
	version uint64
}

// item is what this node knows of something that it has called, or is calling. It
// is forgotten when it has been done.
type item struct {
	running  bool
	failures int
	// until is before when it is left alone, in cluster time, unless its row has been
	// written since seen.
	until time.Time
	seen  uint64
}

// Lead does what falls due until ctx ends.
func Lead(ctx context.Context, store *state.Store, deps Deps) {
	r := &runner{Deps: deps, store: store, items: make(map[string]*item), busy: make(map[string]int), wake: make(chan struct{}, 1)}
	defer r.workers.Wait()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("what is scheduled could not be looked at and will be again", "error", err, "cause", errors.Unwrap(err))
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-r.wake:
		}
	}
}

// look starts what is due.
func (r *runner) look(ctx context.Context) error {
	return r.store.Local(func(tx *state.Tx) error {
		if held, err := r.Held(tx); err != nil || held {
			return err
		}
		if err := r.refresh(tx); err != nil {
			return err
		}
		ready := r.ready(tx.Now())
		if len(ready) == 0 {
			return nil
		}
		router, err := r.Mounts().Router(tx)
		if err != nil {
			return err
		}
		byPrefix := make(map[string]*mounts.Mounted)
		for _, m := range router.All() {
			byPrefix[string(m.DuePrefix())] = m
		}
		for _, key := range ready {
			if m := byPrefix[mountOf(key)]; m != nil && m.Engine.Due != nil {
				r.start(ctx, m, key)
			}
		}
		return nil
	})
}

// refresh reads the table if it has changed.
func (r *runner) refresh(tx *state.Tx) error {
	now := time.Now()
	index := tx.TableIndex(state.Due)
	if index == r.index && now.Sub(r.read) < readAnyway || now.Before(r.next) {
		return nil
	}
	times := make(map[string]entry)
	err := tx.ScanKeys(state.Prefix(state.Due, state.RootNamespace), func(key []byte) ([]byte, error) {
		row, err := tx.Peek(key)
		if err == nil && row != nil {
			times[string(key)] = entry{row.Expiry, row.Version}
		}
		return nil, err
	})
	if err != nil {
		return err
	}
	r.index, r.read = index, now
	r.next = now.Add(readFactor * time.Since(now))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = times
	for key, it := range r.items {
		if _, ok := times[key]; !ok && !it.running {
			delete(r.items, key)
		}
	}
	return nil
}

// ready lists the keys of what may be called: those that did not fail first, then
// by time.
func (r *runner) ready(now time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for key, e := range r.times {
		it := r.items[key]
		if e.at.After(now) || it != nil && (it.running || e.version == it.seen && now.Before(it.until)) {
			continue
		}
		out = append(out, key)
	}
	failures := func(key string) int {
		if it := r.items[key]; it != nil {
			return it.failures
		}
		return 0
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(failures(a), failures(b)), r.times[a].at.Compare(r.times[b].at), cmp.Compare(a, b))
	})
	return out
}

// mountOf is a key's part that says which mount it is of.
func mountOf(key string) string { return key[:min(len(key), mounts.PrefixBytes)] }

// start calls a mount's engine, unless it is busy enough.
func (r *runner) start(ctx context.Context, m *mounts.Mounted, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mount := mountOf(key)
	if r.busy[mount] >= perMount {
		return
	}
	it := r.items[key]
	if it == nil {
		it = new(item)
		r.items[key] = it
	}
	it.running = true
	r.busy[mount]++
	was := r.times[key]
	r.workers.Go(func() {
		err := r.call(ctx, m, key)
		r.finish(ctx, m, key, was, err)
	})
}

// call has the engine do it.
func (r *runner) call(ctx context.Context, m *mounts.Mounted, key string) (err error) {
	name, err := m.DueName(r.store.Barrier(), []byte(key))
	if err != nil {
		return err
	}
	if now, err := r.entry(key); err != nil || now.version == 0 || now.at.After(r.store.Now()) {
		return err // what was read is older than the last call
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	reach := m.Reach(r.store, func(tx *state.Tx) (bool, error) {
		router, err := r.Mounts().Router(tx)
		if err != nil {
			return false, err
		}
		_, ok := router.ByAccessor(m.Accessor)
		return ok, nil
	})
	defer func() { // the node outlives a fault of one engine
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the engine has a fault: %T", fault)
		}
	}()
	return m.Engine.Due(ctx, reach, name)
}

// entry reads a row as it is now.
func (r *runner) entry(key string) (e entry, err error) {
	err = r.store.Local(func(tx *state.Tx) error {
		row, err := tx.Peek([]byte(key))
		if err == nil && row != nil {
			e = entry{row.Expiry, row.Version}
		}
		return err
	})
	return e, err
}

var errUnchanged = errors.New("the engine left its time as it was")

// finish notes how a call went.
func (r *runner) finish(ctx context.Context, m *mounts.Mounted, key string, was entry, failed error) {
	is, err := r.entry(key)
	if err != nil {
		is = was
	}
	if failed = errors.Join(failed, err); failed == nil && is.version == was.version {
		failed = errUnchanged
	}
	if failed != nil && ctx.Err() == nil { // names of what an engine keeps stay out of logs
		r.Log.Warn("scheduled work was not done and will be tried again", "mount", m.Path, "type", m.Type, "error", failed)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	mount := mountOf(key)
	if r.busy[mount]--; r.busy[mount] == 0 {
		delete(r.busy, mount)
	}
	if r.times[key] = is; is.version == 0 {
		delete(r.times, key)
	}
	it := r.items[key]
	if it.running = false; failed == nil {
		delete(r.items, key)
	} else {
		it.failures++
		it.seen, it.until = is.version, r.store.Now().Add(backoff(it.failures))
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// backoff is how long to wait after so many failures: up to half as much again,
// so that not all come back at once.
func backoff(failures int) time.Duration {
	d := longPause
	if failures < 10 {
		d = min(d, firstPause<<max(0, failures-1))
	}
	return d + time.Duration(rand.Int64N(int64(d)/2)) // #nosec G404 -- spreads load
}
