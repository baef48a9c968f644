package core

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// SubmitUnsealKey takes one key share; with the last one the node is unsealed.
func (c *Core) SubmitUnsealKey(ctx context.Context, key string) (SealStatus, error) {
	share, err := parseShare(key)
	if err != nil {
		return SealStatus{}, err
	}
	defer clear(share)
	if err := c.submitUnseal(ctx, share); err != nil {
		return SealStatus{}, err
	}
	if err := c.awaitEntry(ctx); err != nil {
		return SealStatus{}, err
	}
	return c.SealStatus()
}

func (c *Core) submitUnseal(ctx context.Context, share []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.Load() != nil {
		return nil
	}
	var row sealRow
	found, err := c.boot(bootSeal, &row)
	if err != nil {
		return engines.Internal(err)
	}
	if !found {
		return engines.Invalidf("server is not yet initialized")
	}
	if row.Type != sealShamir {
		return c.autoUnsealLocked(ctx)
	}
	if generation := string(mustJSON(row.Generation)); c.unseal == nil || c.unsealFor != generation {
		c.unsealFor = generation
		if c.unseal, err = seal.NewCeremony(row.Generation, rand.Reader); err != nil {
			return engines.Internal(err)
		}
	}
	rootKey, err := c.unseal.Submit(share)
	if err != nil {
		return shareError(err)
	}
	if rootKey == nil {
		return nil
	}
	defer clear(rootKey)
	c.unseal = nil
	return c.openLocked(rootKey) //nolint:contextcheck // what is unsealed outlives the request that unseals
}

// ResetUnseal forgets the shares submitted so far.
func (c *Core) ResetUnseal() (SealStatus, error) {
	c.mu.Lock()
	if c.unseal != nil {
		c.unseal.Reset()
		c.unseal = nil
	}
	c.mu.Unlock()
	return c.SealStatus()
}

// AutoUnseal unseals the node with its wrapper, if it has one and the cluster
// is initialised.
func (c *Core) AutoUnseal(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.autoUnsealLocked(ctx)
}

func (c *Core) autoUnsealLocked(ctx context.Context) error {
	if c.cfg.Wrapper == nil || c.current.Load() != nil {
		return nil
	}
	wrapped, err := c.readBoot(bootRoot)
	if err != nil {
		return engines.Internal(err)
	}
	if wrapped == nil {
		if ok, err := c.Initialized(); err != nil || !ok {
			return err
		}
		return engines.Invalidf("the cluster was initialised with key shares, not with a seal of type %s", c.cfg.Wrapper.Type())
	}
	rootKey, err := seal.UnwrapRootKey(ctx, c.cfg.Wrapper, wrapped)
	if err != nil {
		return &engines.Error{Kind: engines.KindUpstream, Message: "the seal could not unwrap the root key", Cause: err}
	}
	defer clear(rootKey)
	if err := c.openLocked(rootKey); err != nil { //nolint:contextcheck // what is unsealed outlives the request that unseals
		return err
	}
	if c.current.Load() == nil {
		return nil // it joins first
	}
	if stale, err := seal.NeedsRewrap(ctx, c.cfg.Wrapper, wrapped); err == nil && stale {
		return c.rewrap(ctx, rootKey)
	}
	return nil
}

// rewrap wraps the root key under the wrapper's present key.
func (c *Core) rewrap(ctx context.Context, rootKey []byte) error {
	wrapped, err := seal.WrapRootKey(ctx, c.cfg.Wrapper, rootKey)
	if err != nil {
		c.log.Warn("the root key stays wrapped under the seal's previous key", "error", err)
		return nil
	}
	_, err = c.current.Load().store.Update(ctx, func(tx *state.Tx) error { return tx.PutBoot(bootRoot, wrapped) })
	if err != nil {
		c.log.Warn("the root key stays wrapped under the seal's previous key", "error", err)
	}
	return nil
}

// openLocked opens the keyring and begins to serve.
func (c *Core) openLocked(rootKey []byte) error {
	sealed, err := c.readBoot(bootKeyring)
	if err != nil {
		return engines.Internal(err)
	}
	keyring, err := seal.OpenKeyring(rootKey, sealed)
	if err != nil {
		if errors.Is(err, seal.ErrWrongKey) {
			return shareError(err)
		}
		return engines.Internal(err)
	}
	defer keyring.Zero()
	if entering, err := c.enterLocked(rootKey); err != nil || entering {
		return err
	}
	u, err := newUnsealed(c, keyring)
	if err != nil {
		return err
	}
	u.start(rootKey)
	c.current.Store(u)
	c.log.Info("unsealed", "term", keyring.Active().Number)
	return nil
}

// Seal stops serving and forgets the keyring. It may be called on a sealed
// node.
func (c *Core) Seal() { c.lock() }

func (c *Core) lock() {
	c.mu.Lock()
	u := c.current.Swap(nil)
	c.rekeying, c.rooting = [2]*rekeying{}, nil
	c.mu.Unlock()
	if u != nil {
		u.close()
		c.log.Info("sealed")
	}
}

// KeepUnsealing retries AutoUnseal until it succeeds, the cluster turns out to
// have no keys yet, or ctx ends.
func (c *Core) KeepUnsealing(ctx context.Context) {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := c.AutoUnseal(ctx)
		if err == nil {
			return
		}
		c.log.Error("unsealing failed", "error", err, "cause", errors.Unwrap(err), "retry_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
