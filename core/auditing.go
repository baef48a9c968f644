package core

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// trail is what one request leaves on the audit devices. A transaction may run
// several times; its request is recorded once, before the first run that could
// change anything does so.
type trail struct {
	// set are the devices as of the last run, routed and known how far it came.
	set    *audit.Set
	routed *routed
	known  *authenticated
	// recorded says that the request is on record; failed, that it cannot be,
	// so that it must not be executed.
	recorded bool
	failed   error
	// looks says that the request can only read, so that its record may be written
	// together with that of its answer; pending is that record until it is.
	looks   bool
	pending *audit.Pending
	// asked is the record of the request, and of is what it was made from.
	asked audit.Record
	began *audit.Pending
	of    [2]any
}

// settle waits for the record of a request that went on without it.
func (t *trail) settle() error {
	if t.pending == nil {
		return t.failed
	}
	if err := t.pending.Wait(); err != nil {
		t.failed = auditError(err)
	}
	t.pending = nil
	return t.failed
}

// auditError is what a caller is told of a record that could not be written.
func auditError(err error) error {
	if errors.Is(err, audit.ErrClosed) {
		return ErrSealed()
	}
	if errors.Is(err, audit.ErrNoDevice) {
		return &engines.Error{Kind: engines.KindInternal, Message: audit.ErrNoDevice.Error(), Cause: err}
	}
	return err
}

// auditRequest records a request before anything is executed; refused is why
// nothing will be.
func (u *Unsealed) auditRequest(d *decoded, refused error) error {
	t := &d.trail
	if t.recorded && !t.looks {
		return t.settle()
	}
	if t.failed != nil || t.recorded || t.set.Empty() {
		return t.failed
	}
	t.asked, t.of = d.record(), t.from()
	t.asked.Err = refused
	t.began = t.set.Later(&t.asked)
	if t.pending, t.recorded = t.began, true; t.looks {
		return nil // with its answer
	}
	err := t.settle()
	t.recorded = err == nil
	return err
}

// from is what a record says of the request besides what came in.
func (t *trail) from() [2]any { return [2]any{t.routed, t.known} }

// auditRefused records a request that was refused for its form.
func (u *Unsealed) auditRefused(d *decoded, refused error) error {
	if err := u.auditAfter(d); err != nil {
		return err
	}
	return u.auditAnswer(d, nil, refused)
}

// auditAfter looks for the devices as this node has them now.
func (u *Unsealed) auditAfter(d *decoded) error {
	err := u.store.Local(func(tx *state.Tx) (err error) {
		d.trail.set, err = u.audit.At(tx)
		return err
	})
	return auditError(err)
}

// auditAnswer records an answer, and returns the error that is to be answered:
// another one if the record could not be written.
func (u *Unsealed) auditAnswer(d *decoded, out *Outbound, failed error) error {
	t := &d.trail
	switch {
	case t.failed != nil:
		return t.failed
	case t.set == nil: // the cluster gave no view to serve the request from
		return failed
	case failed != nil && t.pending == nil:
		if err := u.auditRequest(d, failed); err != nil {
			return err
		}
	case failed != nil: // with the record of the request
	case t.changesSystem():
		// It may have enabled or disabled a device.
		if err := u.auditAfter(d); err != nil {
			return err
		}
	default:
		t.set = u.audit.Current()
	}
	return u.auditResponse(d, out, failed)
}

// auditResponse records an answer and returns the error that it is, if it is
// one and the record was written.
func (u *Unsealed) auditResponse(d *decoded, out *Outbound, failed error) error {
	t := &d.trail
	if t.set.Empty() {
		if err := t.settle(); err != nil {
			return err
		}
		return failed
	}
	resp := &audit.Response{Listing: d.in.Op == engines.List || d.in.Op == engines.Scan}
	if out != nil {
		resp.Envelope, resp.Raw = out.Envelope, out.Raw
	}
	var r audit.Record
	if t.began != nil && t.of == t.from() {
		r = t.asked
		r.Again, r.Time = t.began, time.Now()
	} else {
		r = d.record()
	}
	r.Response, r.Err = resp, failed
	answered := t.set.After(t.pending, &r)
	if !answered.With(t.pending) {
		if err := t.settle(); err != nil {
			return err
		}
	}
	t.pending = nil
	if err := answered.Wait(); err != nil {
		return auditError(err)
	}
	answered.Release()
	t.began.Release()
	return failed
}

// changesSystem reports whether the request may have changed the devices.
func (t *trail) changesSystem() bool {
	r := t.routed
	return r != nil && r.mount != nil && r.mount.Class == engines.ClassSystem && r.op != nil && r.op.Trait != engines.Reads
}

// record tells of the request as far as it was understood.
func (d *decoded) record() audit.Record {
	in := d.in
	r := audit.Record{Time: time.Now(), Request: audit.Request{
		ID: in.ID, Operation: in.Op.String(), Path: d.path, Token: in.Token, Header: in.Header,
		Addr: in.Addr, Port: in.Port, WrapTTL: in.WrapTTL,
		Input: audit.Input{Body: d.body, Query: in.Query, Raw: in.Body, Malformed: len(in.Body) > 0 && d.body == nil},
	}}
	if d.path == "" {
		r.Request.Path, r.Request.Malformed = in.Path, true
	}
	if d.trail.routed != nil {
		d.trail.routed.describe(&r.Request)
	}
	if a := d.trail.known; a != nil {
		r.Request.Operation = a.does.String()
		r.Auth = a.auth()
		r.Request.Accessor = r.Auth.Accessor
	}
	return r
}

// describe adds where a request went.
func (r *routed) describe(req *audit.Request) {
	if m := r.mount; m != nil {
		req.Mount = &audit.Mount{
			Path: m.Path, Type: m.Type, Class: string(m.Class), Accessor: m.Accessor,
			PlainRequest: m.Config.AuditNonHMACRequestKeys, PlainResponse: m.Config.AuditNonHMACResponseKeys,
		}
	}
	req.Route = r.match.Route
	if req.Route == nil {
		return
	}
	for _, c := range r.match.Captures {
		if slices.ContainsFunc(req.Route.Fields, func(f engines.Field) bool { return f.Name == c.Name && f.Secret }) {
			req.Captured = append(req.Captured, c.Value)
		}
	}
}

// auth tells who asks.
func (a *authenticated) auth() *audit.Auth {
	out := new(audit.Auth)
	if t := a.token; t != nil {
		own := t.Policies
		*out = audit.Auth{
			Token: a.in.Token, Accessor: t.Accessor, DisplayName: t.DisplayName, Policies: a.policies, TokenPolicies: own,
			Metadata: t.Meta, EntityID: t.EntityID, TokenType: t.Type, TTL: t.CreationTTL, Issued: t.Created, Uses: t.NumUses,
		}
		for _, name := range a.policies {
			if !slices.Contains(own, name) {
				out.IdentityPolicies = append(out.IdentityPolicies, name)
			}
		}
	}
	if d := a.decision; d != nil {
		out.Decided = &audit.Decision{Allowed: d.Allowed}
		switch {
		case d.Root:
			out.Decided.Granting = []string{"root"}
		case d.Allowed && d.Rule != nil:
			for _, source := range d.Rule.Sources {
				if !slices.Contains(out.Decided.Granting, source.Policy) {
					out.Decided.Granting = append(out.Decided.Granting, source.Policy)
				}
			}
		}
	}
	return out
}

// yieldAfter is for how long no audit device may take records before a leader
// lets another node try.
const yieldAfter = 5 * time.Second

// yieldUnrecorded hands leadership over when this node must refuse all requests
// since none of its audit devices works, and there is somebody to take it.
func (u *Unsealed) yieldUnrecorded(ctx context.Context) error {
	voters := 0
	for _, m := range u.core.cfg.Node.Status().Members {
		if m.Voter {
			voters++
		}
	}
	if voters < 2 || !u.audit.Down(yieldAfter) {
		return nil
	}
	u.log.Error("no audit device works: leadership is handed over")
	return u.core.cfg.Node.StepDown(ctx)
}

// AuditStatus tells how the audit devices do, and how often none of them took
// a record. There are none while the node is sealed.
func (c *Core) AuditStatus() (devices []audit.Status, refused uint64) {
	u := c.current.Load()
	if u == nil {
		return nil, 0
	}
	return u.audit.Statuses(), u.audit.Refused()
}

// ReopenAudit makes the audit devices open their files again.
func (c *Core) ReopenAudit() {
	if u := c.current.Load(); u != nil {
		u.audit.Reopen()
	}
}
