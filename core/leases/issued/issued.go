package issued

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/crash"
	"github.com/coffer-secrets/coffer/engines"
)

// Deps are the core's parts that leases touch.
type Deps struct {
	// Mounts is asked for when it is needed.
	Mounts func() *mounts.Mounts
	Tokens *tokens.Tokens
	// Entity reports whether there is an entity that may be used; that it is as it
	// was becomes a condition of the commit.
	Entity func(tx *state.Tx, id string) (bool, error)
	Log    *slog.Logger
	// MarkKey is what marks are made with.
	MarkKey []byte
	// Count counts a lease at a path in a role, or refuses it; what it returns is
	// given to Free when the lease is gone, unless it is empty.
	Count func(tx *state.Tx, path, role string) (id string, err error)
	Free  func(tx *state.Tx, id string) error
}

// Issued are the leases of what engines made. It is safe for concurrent use.
type Issued struct {
	deps  Deps
	wake  chan struct{}
	pace  pace
	stats stats
	// told says that it has been logged that leases are held.
	told bool

	mu sync.Mutex
	// queues are those that this node works on, or waits with, while it leads.
	queues   map[target]*queue
	sweeping sweeping
	// changed is closed and replaced when a queue got on.
	changed chan struct{}
}

// New returns the leases of a cluster.
func New(deps Deps) *Issued {
	return &Issued{
		deps: deps, wake: make(chan struct{}, 1), queues: make(map[target]*queue), changed: make(chan struct{}),
	}
}

// kick has the leader's work look for what is due.
func (s *Issued) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Made is a lease that has been committed, and what is to be done for it.
type Made struct {
	grant *engines.Grant
	row   *row
	marks []byte
	// Warnings tell of what was cut.
	Warnings []string
}

const (
	// slack is what making a thing may take longer than it was given: for how
	// long what was sent may be on its way.
	slack = 15 * time.Second

	maxWhat     = 16
	maxTarget   = 1024
	maxWhatText = 256
	idChars     = 24
)

// Grant puts a pending lease for what a token asks for at a mount.
func (s *Issued) Grant(tx *state.Tx, mount *mounts.Mounted, path string, t *tokens.Token, addr netip.Addr, g *engines.Grant) (*Made, error) {
	switch {
	case mount.Engine.Revoke == nil || g.Create == nil:
		return nil, engines.Internal(errors.New("issued: an engine that cannot undo what it issues"))
	case t == nil:
		return nil, engines.Internal(errors.New("issued: a lease without a token"))
	}
	if err := check(g); err != nil {
		return nil, err
	}
	key, err := mount.Key()
	if err != nil {
		return nil, engines.Internal(err)
	}
	tx.RequireExists(key) // a mount that is gone is given no more leases
	m := &Made{grant: g, Warnings: g.Warnings, marks: s.deps.MarkKey}
	m.row = &row{
		id: path + "/" + tokens.RandomText(idChars), Phase: pending, Mount: mount.Accessor, Path: path,
		made:   made{Role: g.Role, What: g.What, Target: g.Target, Undo: g.Undo},
		holder: holder{Owner: t.OwnerKey(), Accessor: t.Accessor, EntityID: t.EntityID},
	}
	if g.Owner == engines.OwnedByEntity {
		if t.EntityID == "" {
			return nil, engines.Invalidf("lease_owner of %q is entity, and the token that asks has none: log in as somebody, or set lease_owner=token", g.Role)
		}
		m.row.Owner = entityKey(t.EntityID)
	}
	if addr.IsValid() {
		m.row.Addr = addr.Unmap().String()
	}
	m.bound(mount.Info, t, tx.Now())
	if !m.row.Expires.After(m.row.Issued) {
		return nil, engines.Invalidf("the token ends before a lease could begin")
	}
	if err := s.own(tx, m.row.Owner); err != nil {
		return nil, err
	}
	if m.row.Counted, err = s.deps.Count(tx, path, g.Role); err != nil {
		return nil, err
	}
	return m, m.row.put(tx)
}

func check(g *engines.Grant) error {
	for name, text := range g.What {
		if len(name)+len(text) > maxWhatText || len(g.What) > maxWhat {
			return engines.Internal(errors.New("issued: the description of what is made is too long"))
		}
	}
	switch {
	case len(g.Undo) > engines.MaxUndo:
		return engines.Invalidf("what it takes to undo this is longer than the limit of %d bytes: shorten the role's statements", engines.MaxUndo)
	case len(g.Target) > maxTarget || len(g.Role) > maxTarget:
		return engines.Internal(errors.New("issued: the name of a target or a role is too long"))
	case g.TTL < 0 || g.MaxTTL < 0:
		return engines.Invalidf("ttl cannot be negative")
	}
	return nil
}

// bound settles how long the lease lives. A token that renewing cannot keep
// alive bounds its leases; any other takes them along when it ends.
func (m *Made) bound(mount engines.Mount, t *tokens.Token, now time.Time) {
	g, r := m.grant, m.row
	limit := mount.MaxTTL
	if g.MaxTTL > 0 {
		limit = min(limit, g.MaxTTL)
	}
	r.TTL = g.TTL
	if r.TTL == 0 {
		r.TTL = min(mount.DefaultTTL, limit)
	}
	if r.TTL > limit {
		m.Warnings = append(m.Warnings, tokens.CapWarning(r.TTL, limit))
		r.TTL = limit
	}
	r.Issued, r.Most, r.Renewable = now, now.Add(limit), g.Renewable
	if g.Owner != engines.OwnedByEntity && !t.Expiry.IsZero() && !t.Renewable && t.Expiry.Before(r.Most) {
		r.Most = t.Expiry
	}
	r.Expires = now.Add(r.TTL)
	if r.Expires.After(r.Most) {
		r.Expires = r.Most
	}
	r.By = now.Add(m.within() + slack)
}

func (m *Made) within() time.Duration {
	if m.grant.Within <= 0 {
		return engines.DefaultWithin
	}
	return min(m.grant.Within, engines.MaxWithin)
}

// ID is what the lease is called.
func (m *Made) ID() string { return m.row.id }

// TTL is what the lease has left at now.
func (m *Made) TTL(now time.Time) time.Duration { return m.row.Expires.Sub(now) }

// Renewable reports whether the lease may be renewed.
func (m *Made) Renewable() bool { return m.row.Renewable }

// Create makes what the lease is for, within its bound, if the lease is there:
// a request that was handed on twice may have been committed by its other run,
// with another lease.
func (s *Issued) Create(ctx context.Context, store *state.Store, m *Made) (any, error) {
	err := store.Local(func(tx *state.Tx) error {
		r, err := load(tx, m.row.id)
		if err == nil && (r == nil || r.Phase != pending) {
			err = &engines.Error{
				Kind: engines.KindUnknownOutcome, Message: "it may or may not have been made, and the answer is lost: ask for another", Cause: engines.ErrNotMade,
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	ended := s.stats.making(m.row.Mount)
	data, err := m.create(ctx)
	ended(err)
	return data, err
}

func (m *Made) create(ctx context.Context) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, m.within())
	defer cancel()
	crash.Before(crash.Create)
	data, err := m.grant.Create(ctx, &engines.Granted{
		ID: m.row.id, Issued: m.row.Issued, Expires: m.row.Expires, Mark: func(name string) string { return markOf(m.marks, m.row, name).String() },
	})
	crash.After(crash.Create)
	if err == nil {
		err = ctx.Err() // what took too long counts as failed
	}
	if err == nil {
		return data, nil
	}
	var known *engines.Error
	switch {
	case errors.As(err, &known):
		return nil, err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return nil, &engines.Error{Kind: engines.KindUpstream, Message: "the target did not answer in time: what it may have made is removed", Cause: err}
	}
	return nil, &engines.Error{Kind: engines.KindUpstream, Message: "the target failed: what it may have made is removed", Cause: err}
}

// Confirm makes the lease live, if it is still pending and its token still there.
func (s *Issued) Confirm(tx *state.Tx, m *Made) error {
	r, err := load(tx, m.row.id)
	if err != nil {
		return err
	}
	if r == nil || r.Phase != pending || !tx.Now().Before(r.By) || !tx.Now().Before(r.Expires) {
		return engines.Errorf(engines.KindUpstream, "the lease ended before what it is for was made, which is removed again")
	}
	alive, err := s.alive(tx, r.Owner)
	if err != nil {
		return err
	}
	if !alive {
		return tokens.ErrInvalid()
	}
	r.Phase, r.Confirmed = live, true
	return r.put(tx)
}

// Fail has what a lease was for undone, whether it was made or not, or forgets
// the lease if failed says that it was not. The leader does so by itself when the
// time for making it is over.
func (s *Issued) Fail(ctx context.Context, store *state.Store, m *Made, failed error) error {
	_, err := store.Update(ctx, func(tx *state.Tx) error {
		r, err := load(tx, m.row.id)
		if err != nil || r == nil {
			return err
		}
		if errors.Is(failed, engines.ErrNotMade) {
			return r.drop(tx, s.deps.Free)
		}
		return r.revoke(tx)
	})
	s.kick()
	return err
}
