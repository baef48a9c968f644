package core

import (
	"context"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/system"
	"github.com/coffer-secrets/coffer/engines"
)

// Authorise says whether policy allows a request that is served outside the
// usual way: nil, or the error to answer.
func (c *Core) Authorise(ctx context.Context, in *Inbound) error {
	_, err := c.gate(ctx, in)
	return err
}

// Sudo reports whether the caller has sudo on the request's path. A bad token
// is an error; a good one without sudo is not.
func (c *Core) Sudo(ctx context.Context, in *Inbound) (bool, error) {
	a, err := c.gate(ctx, in)
	switch {
	case err == nil:
		return a.sudo() || a.token.IsRoot(), nil
	case engines.KindOf(err) == engines.KindDenied:
		return false, nil
	}
	return false, err
}

// gate takes a request as far as its authorisation.
func (c *Core) gate(ctx context.Context, in *Inbound) (*authorised, error) {
	u := c.current.Load()
	if u == nil {
		return nil, c.notServing()
	}
	d, err := decode(in)
	if err != nil {
		return nil, err
	}
	var out *authorised
	err = u.store.View(ctx, func(tx *state.Tx) error {
		a, err := u.authenticate(tx, &routed{decoded: d, does: in.Op})
		if err != nil {
			return err
		}
		if a.token.NumUses > 0 {
			return engines.Errorf(engines.KindDenied, "permission denied")
		}
		out, err = u.authorise(a)
		return err
	})
	return out, err
}

// CORS returns which web pages may call the API.
func (u *Unsealed) CORS() (settings system.CORS, err error) {
	err = u.store.Local(func(tx *state.Tx) error {
		settings, err = system.ReadCORS(tx)
		return err
	})
	return settings, err
}
