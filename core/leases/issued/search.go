package issued

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	defaultFound = 100
	mostFound    = 1000
)

// selector picks leases; what is empty picks all.
type selector struct {
	role, entity, accessor, mount, addr string
	olderThan                           time.Duration
}

func selectorOf(f engines.Values) selector {
	mount := strings.Trim(f.String("mount"), "/")
	if mount != "" {
		mount += "/"
	}
	return selector{
		role: f.String("role"), entity: f.String("entity_id"), accessor: f.String("accessor"), mount: mount,
		addr: f.String("client_address"), olderThan: f.Duration("older_than"),
	}
}

// empty reports whether the selector picks everything.
func (s selector) empty() bool { return s == selector{} }

func (s selector) picks(r *row, now time.Time) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(s.role, r.Role) && is(s.entity, r.EntityID) && is(s.accessor, r.Accessor) && is(s.addr, r.Addr) &&
		now.Sub(r.Issued) >= s.olderThan
}

func selectorFields(query bool) []engines.Field {
	var out []engines.Field
	for _, f := range []engines.Field{
		{Name: "mount", Type: engines.String, Help: "Path of the mount."},
		{Name: "role", Type: engines.String, Help: "Role that the lease is for."},
		{Name: "entity_id", Type: engines.String, Help: "Entity of who asked for it."},
		{Name: "accessor", Type: engines.String, Help: "Accessor of the token that asked for it."},
		{Name: "client_address", Type: engines.String, Help: "Address that asked for it."},
		{Name: "older_than", Type: engines.Seconds, Help: "How long ago it was issued at least."},
		{Name: "after", Type: engines.String, Help: "Go on behind this lease."},
		{Name: "limit", Type: engines.Int, Help: "Find so many at most."},
	} {
		f.Query = query
		out = append(out, f)
	}
	return out
}

// Routes are those below sys/.
func (s *Issued) Routes() []engines.Route {
	dry := engines.Field{Name: "dry_run", Type: engines.Bool, Help: "Only tell what would be revoked."}
	return append(append(s.heldRoutes(), s.reconcileRoutes()...), []engines.Route{
		{
			Pattern: "leases/search", Help: "Find leases of secrets by who asked for them, and for what; without sudo, the caller's own.", Fields: selectorFields(true),
			Ops: []engines.Op{{Do: engines.Read, Handler: seen(s.search)}},
		},
		{
			Pattern: "leases/revoke-by", Help: "Revoke what leases/search finds.", Fields: append(selectorFields(false), dry),
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: seen(s.revokeBy)}},
		},
	}...)
}

func whole(h func(req *engines.Request, tx *state.Tx) (*engines.Response, error)) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		return h(req, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
	}
}

// seen is whole for handlers that are told whose leases the caller may see: nil
// is everybody's.
func seen(h func(req *engines.Request, tx *state.Tx, own *tokens.Token) (*engines.Response, error)) engines.Handler {
	return func(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		caller := tokens.CallerOf(ctx)
		if caller == nil || caller.Token == nil {
			return nil, engines.Errorf(engines.KindDenied, "permission denied")
		}
		own := caller.Token
		if caller.Sudo || own.IsRoot() {
			own = nil
		}
		return h(req, tx.(*state.Region).Tx(), own) //nolint:forcetypeassert // as whole
	}
}

// visit visits the ids of the leases below a folder, or of those that a token or
// its entity owns, in the order in which they are stored.
func visit(tx *state.Tx, dir string, own *tokens.Token, fn func(id string) error) error {
	if own == nil {
		return walk(tx, dir, fn)
	}
	var ids []string
	if key := own.OwnerKey(); own.Type != tokens.Batch && len(key) > 0 { // a batch token's are its parent's
		of, err := owned(tx, key, MaxStuck)
		if err != nil {
			return err
		}
		ids = of
	}
	if own.EntityID != "" {
		of, err := owned(tx, entityKey(own.EntityID), MaxStuck)
		if err != nil {
			return err
		}
		ids = append(ids, of...)
	}
	keys := make(map[string][]byte, len(ids))
	for _, id := range ids {
		key, err := region(tx).Key(id)
		if err != nil {
			return err
		}
		keys[id] = key
	}
	slices.SortFunc(ids, func(a, b string) int { return bytes.Compare(keys[a], keys[b]) })
	for _, id := range ids {
		if !strings.HasPrefix(id, dir) {
			continue
		}
		if err := fn(id); err != nil {
			return err
		}
	}
	return nil
}

// find returns the leases that a request selects, in the order in which they are
// stored, and where to go on; empty at the end.
func (s *Issued) find(req *engines.Request, tx *state.Tx, own *tokens.Token) (found []*row, next string, err error) {
	f, by := req.Fields, selectorOf(req.Fields)
	limit := int(f.Int("limit"))
	if limit <= 0 {
		limit = defaultFound
	}
	limit = min(limit, mostFound)
	var behind []byte // in the order of the stored keys, for the lease itself may be gone
	if after := f.String("after"); after != "" {
		if behind, err = region(tx).Key(after); err != nil {
			return nil, "", err
		}
	}
	errFull := engines.Errorf(engines.KindInternal, "full")
	err = visit(tx, by.mount, own, func(id string) error {
		if behind != nil {
			if key, err := region(tx).Key(id); err != nil || bytes.Compare(key, behind) <= 0 {
				return err
			}
		}
		r, err := load(tx, id)
		if err != nil || r == nil || !r.given() || !by.picks(r, tx.Now()) {
			return err
		}
		if len(found) == limit {
			next = found[limit-1].id
			return errFull
		}
		found = append(found, r)
		return nil
	})
	if next != "" {
		err = nil
	}
	return found, next, err
}

func (s *Issued) search(req *engines.Request, tx *state.Tx, own *tokens.Token) (*engines.Response, error) {
	found, next, err := s.find(req, tx, own)
	if err != nil {
		return nil, err
	}
	list := make([]map[string]any, 0, len(found))
	for _, r := range found {
		list = append(list, map[string]any{
			"lease_id": r.id, "role": r.Role, "entity_id": r.EntityID, "accessor": r.Accessor, "client_address": r.Addr, "created": r.What,
			"state": string(r.Phase), "issue_time": r.Issued.Format(time.RFC3339Nano), "expire_time": r.Expires.Format(time.RFC3339Nano),
		})
	}
	return &engines.Response{Data: map[string]any{"leases": list, "next": next}}, nil
}

// revokeBy revokes a page of what is found: with what it answers as "next" the
// caller goes on.
func (s *Issued) revokeBy(req *engines.Request, tx *state.Tx, own *tokens.Token) (*engines.Response, error) {
	if selectorOf(req.Fields).empty() {
		return nil, engines.Invalidf("say which leases: mount, role, entity_id, accessor, client_address or older_than")
	}
	found, next, err := s.find(req, tx, own)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(found))
	for _, r := range found {
		ids = append(ids, r.id)
	}
	out := &engines.Response{Data: map[string]any{"lease_ids": ids, "next": next, "dry_run": req.Fields.Bool("dry_run")}}
	if !req.Fields.Bool("dry_run") {
		store := tx.Store()
		out.Then = func(ctx context.Context) error {
			defer s.kick()
			return s.endAll(ctx, store, ids, (*row).ask)
		}
	}
	return out, nil
}
