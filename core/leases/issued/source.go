package issued

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/core/leases"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

var _ leases.Source = (*Issued)(nil)

// Find implements leases.Source. A lease that nobody was given yet is none.
func (s *Issued) Find(tx *state.Tx, id string) (*leases.Lease, error) {
	r, err := load(tx, id)
	if err != nil || r == nil || !r.given() {
		return nil, err
	}
	return r.lease(), nil
}

// renewal is a lease's new end, as it was told to the target.
type renewal struct {
	version uint64
	expires time.Time
	warning string
}

// renewal works out a lease's new end.
func (s *Issued) renewal(tx *state.Tx, r *row, increment time.Duration) (*renewal, *mounts.Mounted, error) {
	now := tx.Now()
	held, err := heldOf(tx)
	if err != nil {
		return nil, nil, err
	}
	// Of one that is held, a later renewal than it knows of may be lost.
	if r.Phase != live || !now.Before(r.Expires) && !held.holds(r) {
		return nil, nil, engines.Invalidf("lease expired")
	}
	if increment < 0 {
		return nil, nil, engines.Invalidf("increment cannot be negative")
	}
	mount, err := s.mount(tx, r.Mount)
	if err != nil {
		return nil, nil, err
	}
	if mount == nil {
		return nil, nil, engines.Invalidf("lease expired") // it is about to be revoked
	}
	most := r.Most
	if limit := r.Issued.Add(mount.Info.MaxTTL); limit.Before(most) {
		most = limit
	}
	out := &renewal{version: r.version, expires: now.Add(r.TTL)}
	if increment > 0 {
		out.expires = now.Add(increment)
	}
	if out.expires.After(most) {
		if increment > 0 {
			out.warning = tokens.CapWarning(increment, most.Sub(now))
		}
		out.expires = most
	}
	if !out.expires.After(now) {
		return nil, nil, engines.Invalidf("past the max TTL, cannot renew")
	}
	return out, mount, nil
}

// Prepare implements leases.Source: it tells the target.
func (s *Issued) Prepare(tx *state.Tx, id string, increment time.Duration) (func(ctx context.Context) (any, error), error) {
	r, err := load(tx, id)
	if err != nil || r == nil {
		return nil, err
	}
	next, mount, err := s.renewal(tx, r, increment)
	if err != nil || mount.Engine.Extend == nil {
		return nil, err
	}
	store := tx.Store()
	return func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, engines.DefaultWithin)
		defer cancel()
		err := mount.Engine.Extend(ctx, s.reach(store, mount), &engines.Extension{
			Revocation: engines.Revocation{LeaseID: id, Target: r.Target, Undo: r.Undo}, Expires: next.expires,
		})
		var known *engines.Error
		if err != nil && !errors.As(err, &known) {
			err = &engines.Error{Kind: engines.KindUpstream, Message: "the target refused the renewal, or did not answer in time", Cause: err}
		}
		return next, err
	}, nil
}

// Renew implements leases.Source.
func (s *Issued) Renew(tx *state.Tx, id string, increment time.Duration, done any) (*leases.Lease, string, error) {
	r, err := load(tx, id)
	if err != nil {
		return nil, "", err
	}
	if r == nil {
		return nil, "", engines.Invalidf("lease not found")
	}
	next, mount, err := s.renewal(tx, r, increment)
	if err != nil {
		return nil, "", err
	}
	if mount.Engine.Extend != nil {
		told, ok := done.(*renewal)
		if !ok || told.version != r.version || !tx.Now().Before(told.expires) {
			return nil, "", engines.ErrStale
		}
		next = told
	}
	alive, err := s.alive(tx, r.Owner)
	if err != nil {
		return nil, "", err
	}
	if !alive {
		return nil, "", engines.Invalidf("lease expired")
	}
	r.Expires, r.Renewed = next.expires, tx.Now()
	return r.lease(), next.warning, r.put(tx)
}

// Revoke implements leases.Source.
func (s *Issued) Revoke(tx *state.Tx, id string) error {
	r, err := load(tx, id)
	if err != nil || r == nil {
		return err
	}
	return r.ask(tx)
}

// patienceSync bounds how long a caller waits for what is undone.
const patienceSync = 30 * time.Second

// Settle implements leases.Source.
func (s *Issued) Settle(ctx context.Context, store *state.Store, id string) error {
	return s.settle(ctx, store, []string{id})
}

func (s *Issued) settle(ctx context.Context, store *state.Store, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, patienceSync)
	defer cancel()
	s.kick()
	// Once another node leads, only the state itself tells how it goes.
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for len(ids) > 0 {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		err := store.Local(func(tx *state.Tx) error {
			for len(ids) > 0 {
				r, err := load(tx, ids[0])
				if err != nil {
					return err
				}
				switch {
				case r == nil || r.Phase != revoking || r.waits(tx.Now()):
					ids = ids[1:]
				case r.LastError != "":
					return engines.Errorf(engines.KindUpstream, "the lease is revoked, but what it is for could not be removed yet, which is tried again until it works: %s", r.LastError)
				default:
					return nil
				}
			}
			return nil
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		select {
		case <-changed:
		case <-look.C:
		case <-ctx.Done():
			return engines.Errorf(engines.KindUpstream, "the lease is revoked, but what it is for is not removed yet: the target takes long")
		}
	}
	return nil
}

// Walk implements leases.Source. It passes over what Find does not find.
func (s *Issued) Walk(tx *state.Tx, dir string, fn func(id string) error) error {
	return walk(tx, dir, func(id string) error {
		r, err := load(tx, id)
		if err != nil || r == nil || !r.given() {
			return err
		}
		return fn(id)
	})
}

// walk visits the ids of all leases below a folder.
func walk(tx *state.Tx, dir string, fn func(id string) error) error {
	return region(tx).Walk(dir, func(rest string) error { return fn(dir + rest) })
}

// batch bounds how many leases one transaction turns or removes: all of them as
// big as can be must fit.
const batch = 128

// RevokePrefix implements leases.Source.
func (s *Issued) RevokePrefix(ctx context.Context, store *state.Store, prefix string, how leases.How) error {
	var all []string
	err := store.View(ctx, func(tx *state.Tx) error {
		r, err := load(tx, prefix)
		if err != nil {
			return err
		}
		if r != nil {
			all = append(all, prefix)
		}
		return walk(tx, prefix+"/", func(id string) error {
			all = append(all, id)
			return nil
		})
	})
	if err != nil {
		return err
	}
	end := (*row).ask
	if how.Force {
		end = s.forget
	}
	if err := s.endAll(ctx, store, all, end); err != nil {
		return err
	}
	s.kick()
	if how.Sync && !how.Force {
		return s.settle(ctx, store, all)
	}
	return nil
}

// endAll ends leases, in as many transactions as it takes.
func (s *Issued) endAll(ctx context.Context, store *state.Store, ids []string, end func(r *row, tx *state.Tx) error) error {
	for len(ids) > 0 {
		some := ids[:min(len(ids), batch)]
		ids = ids[len(some):]
		if _, err := store.Update(ctx, func(tx *state.Tx) error { return each(tx, some, end) }); err != nil {
			return err
		}
	}
	return nil
}

// each ends those of some leases that there are.
func each(tx *state.Tx, ids []string, end func(r *row, tx *state.Tx) error) error {
	for _, id := range ids {
		r, err := load(tx, id)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		if err := end(r, tx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Issued) forget(r *row, tx *state.Tx) error { return r.drop(tx, s.deps.Free) }

// MaxStuck is how many leases Stuck returns at most.
const MaxStuck = 10_000

// Stuck lists the leases that cannot be undone, and counts them by mount path.
func (s *Issued) Stuck(tx *state.Tx) (list []*leases.Lease, counts map[string]int, err error) {
	counts = make(map[string]int)
	err = tx.Scan(state.Prefix(state.Undoing, state.RootNamespace), func(key []byte, place *state.Row) error {
		r, err := load(tx, string(place.Value))
		if err != nil || r == nil || !bytes.Equal(r.place(), key) || r.Attempts < leases.StuckAfter {
			return err
		}
		mount, err := s.mount(tx, r.Mount)
		if err != nil {
			return err
		}
		if mount != nil {
			counts[mount.Path]++
		}
		if len(list) < MaxStuck {
			list = append(list, r.lease())
		}
		return nil
	})
	return list, counts, err
}
