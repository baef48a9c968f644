package core

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/core/leases/issued"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/passwords"
	"github.com/coffer-secrets/coffer/core/paths"
	"github.com/coffer-secrets/coffer/core/policies"
	"github.com/coffer-secrets/coffer/core/policy"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

// decoded is a request whose path is canonical and whose body is an object.
type decoded struct {
	in   *Inbound
	path string
	// policyPath is path as policies see it: a listing is of a folder.
	policyPath string
	dir        bool
	body       map[string]json.RawMessage
	trail      trail
	ahead      ahead
	// parts are the operations of a request that asks for several.
	parts []*part
}

// routed is a request whose mount and route have been looked for. It may have
// found none: that is only told to those who may know.
type routed struct {
	*decoded
	mount *mounts.Mounted
	match schema.Match
	op    *engines.Op
	// does is the operation, with create and update told apart.
	does engines.Operation
	// fields are valid only if invalid is nil.
	fields   engines.Values
	warnings []string
	invalid  error
}

// authenticated is a request with the token that it comes with, or none on a
// route that needs none.
type authenticated struct {
	*routed
	token *tokens.Token
	acl   *policy.ACL
	// last says that the token may not be used again.
	last bool
	// policies are the names of what acl was made of.
	policies []string
	// decision is what acl said, once it was asked.
	decision *policy.Decision
}

// authorised is a request that policy allows.
type authorised struct{ *authenticated }

// errWrites says that a request that was taken for a read has to be committed.
var errWrites = errors.New("core: the request writes")

func (u *Unsealed) handle(ctx context.Context, in *Inbound) (*Outbound, error) {
	d, err := decode(in)
	if err != nil {
		return nil, u.auditRefused(d, err)
	}
	headers, err := u.metered(d)
	if err != nil {
		return nil, err
	}
	defer func() { d.trail.pending.Flush() }() // also if the handler fails badly
	out, err := u.prepared(ctx, d)
	changed := !reads(in)
	if err == nil && out.making != nil {
		changed = true
		out, err = u.fulfil(ctx, out.making)
	}
	if errors.Is(err, ErrElsewhere) && !d.trail.recorded {
		return nil, err // it is on record where it is executed
	}
	changed = changed && err == nil
	if failed := u.auditParts(d, err); failed != nil {
		err = withheld(failed, changed)
	}
	// Effects beyond the state come after the record of the answer: one of them
	// is to seal the node.
	if err = u.auditAnswer(d, out, err); err != nil {
		return nil, withheld(err, changed)
	}
	out.addHeaders(headers)
	if out.then == nil {
		return out, nil
	}
	if in.Place.Forwarded && d.trail.routed.op.Trait == engines.Reads {
		// It is about the node that was asked, which could not count the token's use.
		return nil, u.auditResponse(d, nil, engines.Invalidf("this needs a token whose uses are not counted, or the node that leads"))
	}
	if err = out.then(ctx); err != nil {
		return nil, u.auditResponse(d, nil, err)
	}
	return out, nil
}

// withheld is what is told instead of an answer that is not on record. A node that
// was sealed meanwhile must not say so of a change that it has made, since whoever
// is told that a node is sealed takes it for not made.
func withheld(failed error, changed bool) error {
	if !changed || engines.KindOf(failed) != engines.KindUnavailable {
		return failed
	}
	return &engines.Error{
		Kind:    engines.KindUnknownOutcome,
		Message: "the node was sealed before it could answer: the change may have been made, read before you try again",
		Cause:   errors.Join(state.ErrUnknownOutcome, failed),
	}
}

// transact runs the request in a transaction of its own.
func (u *Unsealed) transact(ctx context.Context, d *decoded) (out *Outbound, err error) {
	follower := d.in.Place.Follower
	// What may have been tried before is looked for first (commit): a read counts a
	// use of its token, and may have had the last one.
	tried := d.in.Place.Tried && !follower
	if !tried && reads(d.in) || follower && u.computes(d) {
		err = u.store.ViewOf(ctx, d.in.Age, func(tx *state.Tx) (err error) {
			out, err = u.serve(ctx, tx, d, true)
			return err
		})
		d.trail.looks = false
		if !errors.Is(err, errWrites) {
			return out, err
		}
	}
	if follower {
		return nil, elsewhere(state.ErrNotLeader)
	}
	return u.commit(ctx, d)
}

// commit runs the request in a transaction. A request that fails may still
// have cost its token a use: that is committed, and the failure is the answer.
func (u *Unsealed) commit(ctx context.Context, d *decoded) (*Outbound, error) {
	var out *Outbound
	var failed error
	place := &d.in.Place
	if place.ID == nil {
		place.ID = u.core.NewRequestID()
	}
	once := state.Once{ID: place.ID, Tried: place.Tried}
	if place.Forwarded {
		once.Reply = func() ([]byte, error) { return keep(out, failed) }
	}
	done, err := u.store.UpdateOnce(ctx, once, func(tx *state.Tx) error {
		out, failed = u.serve(ctx, tx, d, false)
		if asksAgain(failed) {
			return state.Abandon(failed)
		}
		if failed != nil && (!tx.Dirty() || d.trail.failed != nil) {
			return failed
		}
		return nil
	})
	if errors.Is(err, state.ErrNotLeader) {
		return nil, elsewhere(err)
	}
	if err != nil {
		return nil, err
	}
	if done.Again {
		return u.again(d, done)
	}
	if failed != nil {
		return nil, failed
	}
	out.Index = done.Index
	return out, nil
}

// reads reports whether a request can be taken for one that changes nothing.
func reads(in *Inbound) bool {
	if in.WrapTTL != 0 {
		return false
	}
	switch in.Op {
	case engines.Read, engines.List, engines.Scan, engines.Help:
		return true
	}
	return false
}

// serve takes a request through its stages in one transaction.
func (u *Unsealed) serve(ctx context.Context, tx *state.Tx, d *decoded, readOnly bool) (*Outbound, error) {
	var err error
	if d.trail.set, err = u.audit.At(tx); err != nil {
		return nil, auditError(err)
	}
	if err := u.quotas.Refresh(tx); err != nil {
		return nil, err
	}
	r, err := u.route(tx, d)
	if err != nil {
		return nil, err
	}
	d.trail.routed, d.trail.known = r, nil
	if readOnly && r.op != nil && r.op.Trait != engines.Reads {
		return nil, errWrites
	}
	d.trail.looks = readOnly && r.op != nil && r.op.Ahead == nil
	a, err := u.authenticate(tx, r)
	if err != nil {
		return nil, err
	}
	d.trail.known = a
	if a.token == nil || a.token.NumUses == 0 {
		return u.answer(ctx, tx, a)
	}
	if readOnly {
		return nil, errWrites
	}
	return u.answerCounted(ctx, tx, a)
}

// answerCounted answers a request whose token may be used so often only. The
// use is taken whether the request succeeds or not; the last one revokes the
// token when the handler has run, since what the token owns goes with it.
func (u *Unsealed) answerCounted(ctx context.Context, tx *state.Tx, a *authenticated) (*Outbound, error) {
	last := a.token.NumUses == 1
	if a.last = last; !last {
		used, err := u.tokens.Use(tx, a.token)
		if err != nil {
			return nil, err
		}
		a.token = used // what the handler sees and may write again
	}
	out, failed := u.answer(ctx, tx, a)
	if last {
		if err := u.tokens.Revoke(tx, a.token); err != nil {
			return nil, err
		}
	}
	return out, failed
}

func (u *Unsealed) answer(ctx context.Context, tx *state.Tx, a *authenticated) (*Outbound, error) {
	if err := u.tellCreate(ctx, tx, a); err != nil {
		return nil, err
	}
	granted, err := u.authorise(a)
	if err != nil && !tx.Dirty() {
		return nil, err // recorded once it is certain
	}
	if failed := u.auditRequest(a.decoded, err); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	mark := tx.Mark()
	out, err := u.execute(ctx, tx, granted)
	if err != nil {
		if !engines.Keeps(err) {
			tx.Rollback(mark)
		}
		return nil, err
	}
	out.Index = tx.Index()
	return out, nil
}

// bodyLimits bound what is parsed.
var bodyLimits = schema.Limits{}

// decode returns what was understood even if the request is refused.
func decode(in *Inbound) (*decoded, error) {
	d, err := decodeOne(in)
	if err == nil && d.path == togetherPath && in.Op == engines.Update {
		d.parts, err = parts(in, d.body)
	}
	return d, err
}

// decodeOne is decode for a request or a part of one.
func decodeOne(in *Inbound) (*decoded, error) {
	path, dir, err := paths.Canonical(in.Path)
	if err != nil {
		return &decoded{in: in}, err
	}
	d := &decoded{in: in, path: path, policyPath: path, dir: dir}
	if in.Op == engines.List || in.Op == engines.Scan {
		d.dir, d.policyPath = true, path+"/"
	}
	if len(in.Body) > 0 {
		if d.body, err = schema.ParseBody(in.Body, bodyLimits); err != nil {
			return d, err
		}
	}
	return d, nil
}

func (u *Unsealed) route(tx *state.Tx, d *decoded) (*routed, error) {
	r := &routed{decoded: d, does: d.in.Op}
	router, err := u.mounts.Router(tx)
	if err != nil {
		return nil, err
	}
	mount, rest, ok := router.Find(d.path)
	if !ok {
		return r, nil
	}
	r.mount = mount
	if d.dir && d.in.Op != engines.Update && d.in.Op != engines.Create && rest != "" {
		rest += "/"
	}
	if r.match, ok = mount.Table.Match(rest); !ok {
		return r, nil
	}
	if r.op, ok = r.match.Op(d.in.Op); !ok {
		r.op = nil
		return r, nil
	}
	query := d.in.Query
	if query == nil {
		query = url.Values{}
	}
	r.fields, r.warnings, r.invalid = r.match.Decode(d.in.Op, query, d.body)
	return r, nil
}

// tellCreate finds out whether a write makes what it writes: policies tell the
// two apart. The engine is told the caller, whose own storage it may be.
func (u *Unsealed) tellCreate(ctx context.Context, tx *state.Tx, a *authenticated) error {
	if a.op == nil || a.does != engines.Update || a.op.Exists == nil || a.invalid != nil {
		return nil //nolint:nilerr // what is invalid is told once policy allows it
	}
	if a.trail.set.Empty() && a.allows(engines.Create) && a.allows(engines.Update) {
		return nil // nobody asks which it is
	}
	exists, err := a.op.Exists(ctx, u.request(tx, a), a.mount.Storage(tx))
	if engines.KindOf(err) == engines.KindInternal && err != nil {
		return err
	}
	a.invalid = err // for those to know who may know
	if err == nil && !exists {
		a.does = engines.Create
	}
	return nil
}

func (u *Unsealed) authenticate(tx *state.Tx, r *routed) (*authenticated, error) {
	a := &authenticated{routed: r}
	if r.op != nil && r.match.Route.Public {
		return a, nil
	}
	if r.in.Token == "" {
		return nil, engines.Invalidf("missing client token")
	}
	token, err := u.tokens.Find(tx, r.in.Token)
	if err != nil {
		return nil, err
	}
	if !token.AllowsAddr(r.in.Addr) {
		return nil, errDenied()
	}
	a.token = token
	a.acl, a.policies, err = u.aclOf(tx, token)
	return a, err
}

// aclOf is what a token may do, and the names of the policies that say so: its
// own and those of its identity.
func (u *Unsealed) aclOf(tx *state.Tx, token *tokens.Token) (*policy.ACL, []string, error) {
	if token.EntityID == "" {
		acl, err := u.policies.ACL(tx, token.Policies, nil)
		return acl, token.Policies, err
	}
	holder, err := u.identity.Holder(tx, token.EntityID)
	if err != nil {
		return nil, nil, err
	}
	names := token.Policies
	if len(holder.Policies) > 0 {
		names = tokens.NormalizePolicies(slices.Concat(names, holder.Policies))
	}
	acl, err := u.policies.ACL(tx, names, &policies.Subject{ID: token.EntityID, Index: holder.Index, Resolve: holder.Resolve})
	return acl, names, err
}

// resolver gives engines what templates are filled with, once one asks.
func (u *Unsealed) resolver(tx *state.Tx, token *tokens.Token) func(expr string) (string, bool) {
	if token.EntityID == "" {
		return nil
	}
	return func(expr string) (string, bool) {
		holder, err := u.identity.Holder(tx, token.EntityID)
		if err != nil {
			return "", false
		}
		return holder.Resolve(expr)
	}
}

// tokenACL is aclOf for the system's paths.
func (u *Unsealed) tokenACL(tx *state.Tx, token *tokens.Token) (*policy.ACL, error) {
	acl, _, err := u.aclOf(tx, token)
	return acl, err
}

func errDenied() error { return engines.Errorf(engines.KindDenied, "permission denied") }

func (u *Unsealed) authorise(a *authenticated) (*authorised, error) {
	if a.op != nil && a.match.Route.Public {
		return &authorised{a}, nil
	}
	if a.in.Op == engines.Help {
		// Help is for whoever can use the mount: it tells of the engine only.
		if a.mount == nil || !a.acl.HasAccessBelow(a.mount.Path) {
			return nil, errDenied()
		}
		return &authorised{a}, nil
	}
	decision := a.decide(a.does)
	a.decision = &decision
	if !decision.Allowed || a.op != nil && a.match.Route.Sudo && !decision.Sudo && !decision.Root {
		return nil, a.denied(decision)
	}
	return &authorised{a}, nil
}

// decide asks policy about an operation on the request's path.
func (a *authenticated) decide(op engines.Operation) policy.Decision {
	return a.acl.Allow(&policy.Request{
		Path: a.policyPath, Op: operation(op), WrapTTL: a.in.WrapTTL, Parameters: a.body, Query: a.in.Query,
	})
}

// allows reports whether policy allows an operation to a caller with a token.
func (a *authenticated) allows(op engines.Operation) bool {
	return a.acl != nil && a.decide(op).Allowed
}

// operation is an operation as policies know it.
func operation(op engines.Operation) policy.Capability {
	switch op {
	case engines.Read:
		return policy.Read
	case engines.List:
		return policy.List
	case engines.Scan:
		return policy.Scan
	case engines.Create:
		return policy.Create
	case engines.Patch:
		return policy.Patch
	case engines.Delete:
		return policy.Delete
	}
	return policy.Update
}

// request is the request as an engine sees it.
func (u *Unsealed) request(tx *state.Tx, a *authenticated) *engines.Request {
	r, t := a.routed, a.token
	req := &engines.Request{
		ID: r.in.ID, Op: r.does, Path: r.path, Fields: r.fields, Mount: r.mount.Info, Now: tx.Now(), Wrapped: r.in.WrapTTL > 0,
		Caller:   engines.Caller{Addr: r.in.Addr, PeerCertificates: r.in.PeerCertificates},
		Password: func(policy string) (string, error) { return passwords.Generate(tx, policy) },
		Leases:   func(target string) (int, bool, error) { return issued.OfTarget(tx, r.mount, target) },
	}
	if a.acl != nil && r.in.Op == engines.Scan {
		req.Hidden = func(folder string) bool { return a.acl.Denies(r.policyPath + folder) }
	}
	if t != nil {
		req.Caller.TokenKey, req.Caller.Accessor, req.Caller.EntityID = t.Key(), t.Accessor, t.EntityID
		req.Caller.DisplayName, req.Caller.Policies, req.Caller.Root = t.DisplayName, a.policies, t.IsRoot()
		req.Identity = u.resolver(tx, t)
	}
	return req
}

// ttlSeconds rounds up, so that what is left never shows as nothing.
func ttlSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
