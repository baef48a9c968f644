package core

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/leases/issued"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/crash"
	"github.com/coffer-secrets/coffer/engines"
)

// making is a request that has been given a lease, and now what it is for.
type making struct {
	a        *authorised
	made     *issued.Made
	warnings []string
}

// failWithin bounds how long a request that failed waits for that to be noted.
const failWithin = 5 * time.Second

// grant gives a request a pending lease. The rest comes once that is committed.
func (u *Unsealed) grant(tx *state.Tx, a *authorised, g *engines.Grant, warnings []string) (*Outbound, error) {
	if a.in.WrapTTL < 0 {
		return nil, engines.Invalidf("the wrapping TTL cannot be negative")
	}
	if a.last && g.Owner != engines.OwnedByEntity {
		return nil, engines.Invalidf("this was the last use of the token, and a lease ends with its token: nothing was made")
	}
	made, err := u.issued.Grant(tx, a.mount, a.path, a.token, a.in.Addr, g)
	if err != nil {
		return nil, err
	}
	crash.Before(crash.Grant)
	return &Outbound{making: &making{a: a, made: made, warnings: slices.Concat(a.warnings, warnings, made.Warnings)}}, nil
}

// fulfil makes what a lease is for, and has the lease confirmed before it
// answers. If either fails, what may have been made is undone.
func (u *Unsealed) fulfil(ctx context.Context, m *making) (*Outbound, error) {
	crash.After(crash.Grant)
	data, err := u.issued.Create(ctx, u.store, m.made)
	var out *Outbound
	if err == nil {
		out, err = u.confirm(ctx, m, data)
	}
	if err == nil {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), failWithin) // whoever asked may have gone
	defer cancel()
	if failed := u.issued.Fail(ctx, u.store, m.made, err); failed != nil {
		u.log.Warn("a lease that failed is left to end by itself", "error", failed, "cause", errors.Unwrap(failed))
	}
	return nil, err
}

func (u *Unsealed) confirm(ctx context.Context, m *making, data any) (*Outbound, error) {
	var out *Outbound
	crash.Before(crash.Confirm)
	index, err := u.store.Update(ctx, func(tx *state.Tx) error {
		if err := u.issued.Confirm(tx, m.made); err != nil {
			return err
		}
		out = &Outbound{Envelope: &answer.Envelope{
			RequestID: m.a.in.ID, LeaseID: m.made.ID(), Renewable: m.made.Renewable(), LeaseDuration: ttlSeconds(m.made.TTL(tx.Now())),
			Data: data, Warnings: m.warnings, MountType: m.a.mount.Type,
		}}
		if m.a.in.WrapTTL == 0 {
			return nil
		}
		return u.wrap(tx, m.a, out)
	})
	crash.After(crash.Confirm)
	if err != nil {
		return nil, err
	}
	out.Index = index
	return out, nil
}

// LeaseStats are figures about leases; ok is false while the node is sealed.
func (c *Core) LeaseStats() (stats issued.Stats, ok bool) {
	u := c.current.Load()
	if u == nil {
		return stats, false
	}
	stats, err := u.issued.Stats(u.store)
	return stats, err == nil
}
