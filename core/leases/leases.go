package leases

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Lease is one lease.
type Lease struct {
	ID        string
	Issued    time.Time
	Expires   time.Time
	Renewed   time.Time // the zero time if it never was
	Renewable bool
	// Path is what it was issued for. What was made for it, how far it has come and
	// how undoing it goes are told of leases of secrets only.
	Path      string
	What      map[string]string
	Phase     string
	Attempts  int
	LastError string
	Next      time.Time
}

// StuckAfter is how many attempts to undo a lease may fail before it counts as
// stuck. It is tried on all the same.
const StuckAfter = 6

// Stuck reports whether undoing the lease keeps failing.
func (l *Lease) Stuck() bool { return l.Attempts >= StuckAfter }

// How says how leases are revoked.
type How struct {
	// Force forgets what cannot be undone.
	Force bool
	// Sync waits until it is undone, or has failed once.
	Sync bool
}

// Source keeps leases. An id begins with the path that its lease was issued at.
type Source interface {
	// Find returns a lease, or nil.
	Find(tx *state.Tx, id string) (*Lease, error)
	// Prepare returns what has to be done before a lease is renewed, if anything.
	Prepare(tx *state.Tx, id string, increment time.Duration) (func(ctx context.Context) (any, error), error)
	// Renew gives a lease that Find returned new life from now on; 0 asks for
	// what it was issued with. done is what the work of Prepare returned; if that
	// is out of date, the error is engines.ErrStale. The warning says what was cut.
	Renew(tx *state.Tx, id string, increment time.Duration, done any) (l *Lease, warning string, err error)
	// Revoke ends a lease that Find returned.
	Revoke(tx *state.Tx, id string) error
	// Settle waits until a lease that is revoked is gone, or undoing it has failed.
	Settle(ctx context.Context, store *state.Store, id string) error
	// Walk visits the ids below a folder, which ends in a slash or is empty.
	Walk(tx *state.Tx, dir string, fn func(id string) error) error
	// RevokePrefix ends the leases with an id, or below it as a folder, in as
	// many transactions as it takes.
	RevokePrefix(ctx context.Context, store *state.Store, prefix string, how How) error
}

// Leases are those of several sources.
type Leases struct{ sources []Source }

// New returns the leases of sources.
func New(sources ...Source) *Leases { return &Leases{sources} }

func (l *Leases) find(tx *state.Tx, id string) (Source, *Lease, error) {
	for _, s := range l.sources {
		if found, err := s.Find(tx, id); err != nil || found != nil {
			return s, found, err
		}
	}
	return nil, nil, nil
}

// Find returns a lease, or nil.
func (l *Leases) Find(tx *state.Tx, id string) (*Lease, error) {
	_, found, err := l.find(tx, id)
	return found, err
}

func (l *Leases) renewable(tx *state.Tx, id string) (Source, error) {
	source, found, err := l.find(tx, id)
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, engines.Invalidf("lease not found")
	case !found.Renewable:
		return nil, engines.Invalidf("lease is not renewable")
	}
	return source, nil
}

// Prepare returns what has to be done before a lease is renewed, or nil.
func (l *Leases) Prepare(tx *state.Tx, id string, increment time.Duration) (func(ctx context.Context) (any, error), error) {
	source, err := l.renewable(tx, id)
	if err != nil {
		return nil, err
	}
	return source.Prepare(tx, id, increment)
}

// Renew renews a lease.
func (l *Leases) Renew(tx *state.Tx, id string, increment time.Duration, done any) (*Lease, string, error) {
	source, err := l.renewable(tx, id)
	if err != nil {
		return nil, "", err
	}
	return source.Renew(tx, id, increment, done)
}

// Settle waits until a lease that has been revoked is gone.
func (l *Leases) Settle(ctx context.Context, store *state.Store, id string) error {
	for _, s := range l.sources {
		if err := s.Settle(ctx, store, id); err != nil {
			return err
		}
	}
	return nil
}

// Revoke ends a lease; one that is not there has ended.
func (l *Leases) Revoke(tx *state.Tx, id string) error {
	source, found, err := l.find(tx, id)
	if err != nil || found == nil {
		return err
	}
	return source.Revoke(tx, id)
}

// RevokePrefix ends all leases with an id, or below it as a folder.
func (l *Leases) RevokePrefix(ctx context.Context, store *state.Store, prefix string, how How) error {
	var problems []error
	for _, s := range l.sources {
		problems = append(problems, s.RevokePrefix(ctx, store, prefix, how))
	}
	return errors.Join(problems...)
}

// MaxListed is how many names List returns at most.
const MaxListed = 100_000

// List returns what is in a folder, sorted: leases, and folders with a trailing
// slash. more says that there are others after those.
func (l *Leases) List(tx *state.Tx, dir string, page engines.Page) (names []string, more bool, err error) {
	limit := page.Limit
	if limit <= 0 || limit > MaxListed {
		limit = MaxListed
	}
	trim := func() {
		slices.Sort(names)
		if names = slices.Compact(names); len(names) > limit {
			names, more = names[:limit], true
		}
	}
	last := ""
	for _, s := range l.sources {
		err := s.Walk(tx, dir, func(id string) error {
			name := strings.TrimPrefix(id, dir)
			if head, _, deeper := strings.Cut(name, "/"); deeper {
				name = head + "/"
			}
			if name <= page.After || name == last {
				return nil
			}
			last = name
			if names = append(names, name); len(names) >= 2*limit+1024 {
				trim()
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	trim()
	return names, more, nil
}
