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
}

// Source keeps leases. An id begins with the path that its lease was issued at.
type Source interface {
	// Find returns a lease, or nil.
	Find(tx *state.Tx, id string) (*Lease, error)
	// Renew gives a lease that Find returned new life from now on; 0 asks for
	// what it was issued with. The warning says what was cut.
	Renew(tx *state.Tx, id string, increment time.Duration) (l *Lease, warning string, err error)
	// Revoke ends a lease that Find returned.
	Revoke(tx *state.Tx, id string) error
	// Walk visits the ids below a folder, which ends in a slash or is empty.
	Walk(tx *state.Tx, dir string, fn func(id string) error) error
	// RevokePrefix ends the leases with an id, or below it as a folder, in as
	// many transactions as it takes. With force, what cannot be undone is left.
	RevokePrefix(ctx context.Context, store *state.Store, prefix string, force bool) error
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

// Renew renews a lease.
func (l *Leases) Renew(tx *state.Tx, id string, increment time.Duration) (*Lease, string, error) {
	source, found, err := l.find(tx, id)
	switch {
	case err != nil:
		return nil, "", err
	case found == nil:
		return nil, "", engines.Invalidf("lease not found")
	case !found.Renewable:
		return nil, "", engines.Invalidf("lease is not renewable")
	}
	return source.Renew(tx, id, increment)
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
func (l *Leases) RevokePrefix(ctx context.Context, store *state.Store, prefix string, force bool) error {
	var problems []error
	for _, s := range l.sources {
		problems = append(problems, s.RevokePrefix(ctx, store, prefix, force))
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
