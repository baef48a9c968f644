package core

import (
	"context"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/system"
	"github.com/coffer-secrets/coffer/engines"
)

// Authorise says whether policy allows a request that is served outside the
// usual way: nil, or the error to answer. Either is on record by then.
func (c *Core) Authorise(ctx context.Context, in *Inbound) error {
	u := c.current.Load()
	if u == nil {
		return c.notServing()
	}
	d, err := decode(in)
	if err != nil {
		return u.auditRefused(d, err)
	}
	a, err := u.gate(ctx, d)
	if a == nil && d.trail.set == nil {
		return err // the cluster gave no view to ask
	}
	if failed := u.auditRequest(d, err); failed != nil {
		return failed
	}
	return err
}

// Sudo reports whether the caller has sudo on the request's path. A bad token
// is an error; a good one without sudo is not.
func (c *Core) Sudo(ctx context.Context, in *Inbound) (bool, error) {
	u := c.current.Load()
	if u == nil {
		return false, c.notServing()
	}
	d, err := decode(in)
	if err != nil {
		return false, err
	}
	a, err := u.gate(ctx, d)
	switch {
	case err == nil:
		return a.sudo() || a.token.IsRoot(), nil
	case engines.KindOf(err) == engines.KindDenied:
		return false, nil
	}
	return false, err
}

// gate takes a request as far as its authorisation.
func (u *Unsealed) gate(ctx context.Context, d *decoded) (*authorised, error) {
	var out *authorised
	err := u.store.View(ctx, func(tx *state.Tx) error {
		var err error
		if d.trail.set, err = u.audit.At(tx); err != nil {
			return auditError(err)
		}
		a, err := u.authenticate(tx, &routed{decoded: d, does: d.in.Op})
		if err != nil {
			return err
		}
		d.trail.known = a
		if a.token.NumUses > 0 {
			return engines.Errorf(engines.KindDenied, "permission denied")
		}
		out, err = u.authorise(a)
		return err
	})
	return out, err
}

// PageHeaders returns the headers that pages carry beside their own.
func (u *Unsealed) PageHeaders() (headers map[string][]string, err error) {
	err = u.store.Local(func(tx *state.Tx) error {
		headers, err = system.ReadHeaders(tx)
		return err
	})
	return headers, err
}

// CORS returns which web pages may call the API.
func (u *Unsealed) CORS() (settings system.CORS, err error) {
	err = u.store.Local(func(tx *state.Tx) error {
		settings, err = system.ReadCORS(tx)
		return err
	})
	return settings, err
}
