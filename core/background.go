package core

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/due"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
)

const (
	tickEvery   = 500 * time.Millisecond
	expireBatch = 100
	// expireFactor is how many times as long as looking for what is over took it is
	// left alone: where many leases are over, that is long.
	expireFactor = 10
)

// lead does a leader's work for as long as, and whenever, the node leads.
func (u *Unsealed) lead() {
	for {
		ctx, err := u.core.cfg.Node.Lead(u.ctx)
		if err != nil {
			return
		}
		var workers sync.WaitGroup
		workers.Go(func() { u.issued.Lead(ctx, u.store) })
		workers.Go(func() {
			due.Lead(ctx, u.store, due.Deps{Mounts: func() *mounts.Mounts { return u.mounts }, Held: u.issued.Held, Log: u.log})
		})
		u.every(ctx, u.leaderTick)
		workers.Wait()
	}
}

// follow does the work of every node.
func (u *Unsealed) follow() {
	var seen uint64
	u.every(u.ctx, func(context.Context) error {
		u.shareRates()
		if err := u.watchRestores(&seen); err != nil { //nolint:contextcheck // what is unsealed outlives this one
			return err
		}
		return u.store.Local(u.quotas.Refresh)
	})
}

// every runs work now and then until ctx ends. What fails is tried again.
func (u *Unsealed) every(ctx context.Context, work func(ctx context.Context) error) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			u.log.Warn("background work failed and will be tried again", "error", err, "cause", errors.Unwrap(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (u *Unsealed) leaderTick(ctx context.Context) error {
	return errors.Join(u.expire(ctx), u.reap(ctx), u.rotateIfDue(ctx), u.oidc.Rotate(ctx, u.store), u.keepCount(ctx), u.certify(ctx), u.belongs.pilot.Tick(ctx), u.yieldUnrecorded(ctx))
}

// expire removes the tokens whose time is up, and what else passes. They have
// been refused since it was; this only makes room.
func (u *Unsealed) expire(ctx context.Context) error {
	if time.Now().Before(u.expireNext) {
		return nil
	}
	token, passing := state.Prefix(state.Tokens, state.RootNamespace), state.Prefix(state.Passing, state.RootNamespace)
	var first []byte
	for {
		var due [][]byte
		began := time.Now()
		err := u.store.Local(func(tx *state.Tx) error {
			// Other tables' rows are passed over, however many of them are due.
			return tx.Expiring(tx.Now(), 0, func(_ time.Time, key []byte) bool {
				if bytes.HasPrefix(key, token) || bytes.HasPrefix(key, passing) {
					due = append(due, key)
				}
				return len(due) < expireBatch
			})
		})
		u.expireNext = time.Now().Add(expireFactor * time.Since(began))
		if err != nil || len(due) == 0 {
			return err
		}
		if bytes.Equal(first, due[0]) {
			return nil // the last round did not remove it: the next tick may
		}
		first = due[0]
		_, err = u.store.Update(ctx, func(tx *state.Tx) error {
			for _, key := range due {
				drop := u.tokens.RevokeExpired
				if bytes.HasPrefix(key, passing) {
					drop = dropPassed
				}
				if err := drop(tx, key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// dropPassed removes a row unless it has been given more time meanwhile.
func dropPassed(tx *state.Tx, key []byte) error {
	row, err := tx.Get(key)
	if err != nil || row == nil || tx.Now().Before(row.Expiry) {
		return err
	}
	return tx.Delete(key)
}

// reap removes what big revocations left behind.
func (u *Unsealed) reap(ctx context.Context) error {
	for {
		more := false
		err := u.store.Local(func(tx *state.Tx) (err error) {
			more, err = u.tokens.Left(tx)
			return err
		})
		if err != nil || !more {
			return err
		}
		if _, err := u.store.Update(ctx, u.tokens.Reap); err != nil {
			return err
		}
	}
}
