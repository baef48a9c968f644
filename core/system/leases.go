package system

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/leases"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) leaseRoutes() []engines.Route {
	id := field("lease_id", engines.String, "The lease.")
	inPath := field("url_lease_id", engines.String, "The lease.")
	increment := field("increment", engines.Seconds, "How much longer the lease shall live, from now.")
	prefix := field("prefix", engines.String, "The path that the leases begin with.")
	sync := engines.Field{Name: "sync", Type: engines.Bool, Default: true, Help: "Wait until it is undone, or failed once: it is tried again either way."}
	kind := []engines.Field{
		field("type", engines.String, "Only \"irrevocable\"."), field("include_child_namespaces", engines.Bool, "Accepted."),
		field("limit", engines.String, "Accepted."),
	}
	renew, revoke := []engines.Op{update(whole(s.renewLease))}, []engines.Op{update(whole(s.revokeLease))}
	renew[0].Ahead = s.beforeRenewal
	asked := id
	asked.Query = true
	below := []engines.Field{prefix, {Name: "after", Type: engines.String, Query: true, Help: "List names after this one."}, {Name: "limit", Type: engines.Int, Query: true, Help: "List so many names."}}
	return []engines.Route{
		{Pattern: "leases", Help: "List the leases that cannot be revoked.", Sudo: true, Fields: kind, Ops: []engines.Op{read(whole(s.irrevocable))}},
		{Pattern: "leases/count", Help: "Count the leases that cannot be revoked.", Fields: kind, Ops: []engines.Op{read(whole(s.irrevocable))}},
		{Pattern: "leases/lookup", Help: "Tell of a lease, or list where leases are.", Fields: append(slices.Clone(below[1:]), asked), Ops: []engines.Op{
			read(whole(s.lookupLease)), compute(whole(s.lookupLease)), list(whole(s.listAllLeases)),
		}},
		{Pattern: "leases/lookup/{prefix...?}", Help: "List the leases below a path.", Sudo: true, Fields: below, Ops: []engines.Op{list(whole(s.listLeases))}},
		{Pattern: "leases/renew", Help: "Renew a lease.", Fields: []engines.Field{id, inPath, increment}, Ops: renew},
		{Pattern: "leases/renew/{url_lease_id...}", Help: "Renew a lease.", Fields: []engines.Field{id, inPath, increment}, Ops: renew},
		{Pattern: "leases/revoke", Help: "Revoke a lease.", Fields: []engines.Field{id, inPath, sync}, Ops: revoke},
		{Pattern: "leases/revoke/{url_lease_id...}", Help: "Revoke a lease.", Fields: []engines.Field{id, inPath, sync}, Ops: revoke},
		{Pattern: "leases/revoke-prefix/{prefix...}", Help: "Revoke the leases below a path.", Sudo: true, Fields: []engines.Field{prefix, sync}, Ops: []engines.Op{update(whole(s.revokePrefix))}},
		{Pattern: "leases/revoke-force/{prefix...}", Help: "Forget the leases below a path, undone or not.", Sudo: true, Fields: []engines.Field{prefix}, Ops: []engines.Op{update(whole(s.revokeForce))}},
		{Pattern: "leases/stuck", Help: "List the leases that keep failing to be revoked, with the last error.", Sudo: true, Ops: []engines.Op{read(whole(s.stuck))}},
		{Pattern: "leases/tidy", Help: "Remove what leases have left behind.", Ops: []engines.Op{compute(whole(s.tidyLeases))}},
	}
}

// leaseID is the lease that the request names.
func leaseID(req *engines.Request) (string, error) {
	id := req.Fields.String("lease_id")
	if id == "" {
		id, _ = req.Fields.Get("url_lease_id").(string)
	}
	if id == "" {
		return "", engines.Invalidf("lease_id must be specified")
	}
	return strings.Trim(id, "/"), nil
}

func (s *system) lookupLease(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id, err := leaseID(req)
	if err != nil {
		return nil, err
	}
	l, err := s.Leases.Find(tx, id)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, engines.Invalidf("invalid lease")
	}
	out := map[string]any{
		"id": l.ID, "issue_time": l.Issued.Format(time.RFC3339Nano), "expire_time": l.Expires.Format(time.RFC3339Nano),
		"last_renewal": nil, "renewable": l.Renewable, "ttl": leaseSeconds(l, req.Now), "path": l.Path, "namespace_path": "",
		"revoke_error": l.LastError,
	}
	if l.Phase != "" {
		out["state"], out["attempts"], out["next_attempt"], out["created"] = l.Phase, l.Attempts, nil, l.What
	}
	if !l.Next.IsZero() {
		out["next_attempt"] = l.Next.Format(time.RFC3339Nano)
	}
	if !l.Renewed.IsZero() {
		out["last_renewal"] = l.Renewed.Format(time.RFC3339Nano)
	}
	return data(out), nil
}

// leaseSeconds rounds up, so that what is left never shows as nothing.
func leaseSeconds(l *leases.Lease, now time.Time) int64 {
	return max(0, int64((l.Expires.Sub(now)+time.Second-1)/time.Second))
}

// listAllLeases shares its route with what needs no sudo.
func (s *system) listAllLeases(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	if caller := tokens.CallerOf(ctx); !caller.Sudo && !caller.Token.IsRoot() {
		return nil, engines.Errorf(engines.KindDenied, "permission denied")
	}
	return s.listLeases(ctx, req, tx)
}

func (s *system) listLeases(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	prefix, _ := req.Fields.Get("prefix").(string)
	dir := strings.Trim(prefix, "/")
	if dir != "" {
		dir += "/"
	}
	names, more, err := s.Leases.List(tx, dir, engines.Page{After: req.Fields.String("after"), Limit: int(req.Fields.Int("limit"))})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	resp := data(map[string]any{"keys": names})
	if more && req.Fields.Int("limit") == 0 {
		resp.Warnings = []string{"There are more: list with after and limit."}
	}
	return resp, nil
}

// beforeRenewal tells what a lease is for of its renewal.
func (s *system) beforeRenewal(_ context.Context, req *engines.Request, tx engines.Tx) (func(ctx context.Context) (any, error), error) {
	id, err := leaseID(req)
	if err != nil {
		return nil, err
	}
	all := tx.(*state.Region).Tx() //nolint:forcetypeassert // as whole
	return s.Leases.Prepare(all, id, req.Fields.Duration("increment"))
}

func (s *system) renewLease(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id, err := leaseID(req)
	if err != nil {
		return nil, err
	}
	l, warning, err := s.Leases.Renew(tx, id, req.Fields.Duration("increment"), req.Ahead)
	if err != nil {
		return nil, err
	}
	resp := &engines.Response{Secret: &engines.Secret{ID: l.ID, TTL: l.Expires.Sub(req.Now), Renewable: l.Renewable}}
	if warning != "" {
		resp.Warnings = []string{warning}
	}
	return resp, nil
}

func (s *system) revokeLease(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id, err := leaseID(req)
	if err != nil {
		return nil, err
	}
	if err := s.Leases.Revoke(tx, id); err != nil || !req.Fields.Bool("sync") {
		return nil, err
	}
	store := tx.Store()
	return &engines.Response{Then: func(ctx context.Context) error { return s.Leases.Settle(ctx, store, id) }}, nil
}

func (s *system) revokePrefix(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return s.revokeBelow(req, tx, leases.How{Sync: req.Fields.Bool("sync")})
}

func (s *system) revokeForce(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return s.revokeBelow(req, tx, leases.How{Force: true})
}

// revokeBelow takes as many transactions as there is to revoke, after the
// request's own.
func (s *system) revokeBelow(req *engines.Request, tx *state.Tx, how leases.How) (*engines.Response, error) {
	prefix, store := strings.Trim(req.Fields.String("prefix"), "/"), tx.Store()
	if prefix == "" {
		return nil, engines.Invalidf("prefix: the path that the leases begin with is missing")
	}
	return &engines.Response{Then: func(ctx context.Context) error {
		return s.Leases.RevokePrefix(ctx, store, prefix, how)
	}}, nil
}

// irrevocable tells of leases that keep failing to be undone. Unlike Vault's,
// they are tried on for ever.
func (s *system) irrevocable(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	if kind := req.Fields.String("type"); kind != "irrevocable" {
		return nil, engines.Invalidf("type: only \"irrevocable\" leases are counted")
	}
	resp, err := s.stuckLeases(tx)
	if err != nil {
		return nil, err
	}
	if all, ok := resp.Data.(map[string]any); ok && strings.HasSuffix(req.Path, "/count") {
		delete(all, "leases") // which they are is for those with sudo
	}
	return resp, nil
}

func (s *system) stuck(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return s.stuckLeases(tx)
}

func (s *system) stuckLeases(tx *state.Tx) (*engines.Response, error) {
	list, counts, err := s.Issued.Stuck(tx)
	if err != nil {
		return nil, err
	}
	held, err := s.Issued.Held(tx)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	shown := make([]map[string]any, 0, len(list))
	for _, l := range list {
		shown = append(shown, map[string]any{
			"lease_id": l.ID, "error": l.LastError, "attempts": l.Attempts, "next_attempt": l.Next.Format(time.RFC3339Nano), "created": l.What,
		})
	}
	return data(map[string]any{"lease_count": max(total, len(list)), "counts": counts, "leases": shown, "held": held}), nil
}

// tidyLeases has nothing to start: what is left of leases is removed as it
// falls due.
func (s *system) tidyLeases(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	return &engines.Response{Warnings: []string{"What leases leave behind is removed continuously: there is nothing to start."}}, nil
}
