package core

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/coffer-secrets/coffer/core/backup"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/seal"
)

// Snapshot writes the state of the cluster as an archive: what every answered
// write has left or, if the cluster has no quorum, what this node has.
func (c *Core) Snapshot(ctx context.Context, w io.Writer) error {
	u := c.current.Load()
	if u == nil {
		return c.notServing()
	}
	view, err := c.cfg.Node.Read(ctx)
	if err != nil {
		if view = c.cfg.Node.Local(); view == nil {
			return err
		}
	}
	defer view.Close()
	meta := backup.Meta{Cluster: u.belongs.cluster, Version: c.cfg.Info.Version, Index: view.Index(), Term: view.Term(), Time: c.cfg.Node.Now().UTC()}
	return backup.Write(ctx, w, u.belongs.backupKey, meta, view)
}

// Restore replaces the state by that of an archive, by way of the leader. On a
// node that is part of nothing it begins a cluster: then the archive is checked
// as far as that goes without keys, and unsealing it shows whose it is. With
// force, an archive counts that was not made with this cluster's keys.
func (c *Core) Restore(ctx context.Context, r io.Reader, force bool) error {
	if done, err := c.Initialized(); err != nil || !done {
		if err != nil {
			return engines.Internal(err)
		}
		return c.restoreFresh(ctx, r)
	}
	status := c.cfg.Node.Status()
	if c.current.Load() == nil || status.Leader || status.LeaderID == "" || c.cfg.Peers == nil {
		return c.RestoreHere(ctx, r, force)
	}
	return restoreError(c.cfg.Peers.Restore(ctx, status.LeaderID, r, force))
}

// restoreFresh begins a cluster with an archive.
func (c *Core) restoreFresh(ctx context.Context, r io.Reader) error {
	if c.cfg.Members == nil {
		return errNoRestore()
	}
	a, err := backup.Open(r, nil)
	if err != nil {
		return restoreError(err)
	}
	if err := c.cfg.Members.FoundFrom(ctx, a); err != nil {
		return restoreError(err)
	}
	c.log.Info("a cluster begins with a snapshot", "cluster", a.Meta().Cluster, "index", a.Meta().Index)
	if c.cfg.Wrapper != nil {
		c.background.Go(func() { c.KeepUnsealing(c.ctx) })
	}
	return nil
}

// RestoreHere is Restore on the leader.
func (c *Core) RestoreHere(ctx context.Context, r io.Reader, force bool) error {
	u := c.current.Load()
	switch {
	case u == nil:
		return c.notServing()
	case c.cfg.Members == nil:
		return errNoRestore()
	}
	key := u.belongs.backupKey
	if force {
		key = nil
	}
	a, err := backup.Open(r, key)
	if err != nil {
		return restoreError(err)
	}
	if a.Meta().Cluster != u.belongs.cluster {
		if !force {
			return engines.Invalidf("the snapshot is of another cluster: sys/storage/raft/snapshot-force restores it all the same")
		}
		if len(c.cfg.Node.Status().Members) > 1 {
			return engines.Invalidf("the snapshot is of another cluster, whose certificates these members do not have: restore it on a node that is the only one, and let others join that")
		}
	}
	if err := c.cfg.Members.RestoreSnapshot(ctx, a); err != nil {
		return restoreError(err)
	}
	c.log.Info("a snapshot was restored", "index", a.Meta().Index)
	if to := u.compare(); to != same {
		c.followRestore(u, to) //nolint:contextcheck // what is unsealed outlives the request
	}
	return nil
}

// restored is how a state may differ from the one that a node was unsealed for.
type restored int

const (
	same restored = iota
	// earlier: the keyring is one that this node's comes from.
	earlier
	// foreign: it is another cluster's.
	foreign
)

// compare tells which state this node has by now.
func (u *Unsealed) compare() restored {
	var row clusterRow
	if found, err := u.core.boot(bootCluster, &row); err != nil || !found || u.belongs.cluster == "" {
		return same
	}
	if row.ID != u.belongs.cluster {
		return foreign
	}
	if errors.Is(u.reloadKeyring(), seal.ErrKeyringMismatch) {
		return earlier
	}
	return same
}

// followRestore lets the node go on with a state that was restored: with an
// earlier keyring of its own, or sealed with another cluster's. It must not run
// on a worker of u, whose end it waits for.
func (c *Core) followRestore(u *Unsealed, to restored) {
	if to == foreign {
		if c.current.Load() != u {
			return
		}
		c.clusterID.Store(nil)
		c.log.Warn("the state is another cluster's now: the node is sealed until it has that one's keys")
		c.lock()
		if c.cfg.Wrapper != nil {
			c.background.Go(func() { c.KeepUnsealing(c.ctx) })
		}
		return
	}
	done, err := c.reopen(u)
	if done {
		u.close()
	}
	if err != nil {
		c.log.Error("the restored state cannot be opened: the node has to be sealed, and unsealed with the shares of that time", "error", err, "cause", errors.Unwrap(err))
	}
}

// reopen puts another unsealed part in the place of u, with the same root key.
// The caller closes u then.
func (c *Core) reopen(u *Unsealed) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.Load() != u {
		return false, nil
	}
	u.keyMu.Lock()
	key := bytes.Clone(u.rootKey)
	u.keyMu.Unlock()
	defer clear(key)
	err = c.openLocked(key)
	return err == nil, err
}

// watchRestores looks whether the rows that a node is unsealed with have
// changed since it looked last.
func (u *Unsealed) watchRestores(seen *uint64) error {
	var index uint64
	err := u.store.Local(func(tx *state.Tx) error {
		index = tx.TableIndex(state.Boot)
		return nil
	})
	if err == nil && index == *seen {
		return nil
	}
	*seen = index
	if to := u.compare(); to != same {
		u.core.background.Go(func() { u.core.followRestore(u, to) })
		return nil
	}
	return err
}

func errNoRestore() error { return engines.Invalidf("this node restores nothing") }

// restoreError says what is wrong with a snapshot, or that there is nobody to
// restore it.
func restoreError(err error) error {
	var e *engines.Error
	switch {
	case err == nil, errors.As(err, &e):
		return err
	case errors.Is(err, backup.ErrUnsigned):
		return engines.Invalidf("the snapshot was not made with this cluster's keys: sys/storage/raft/snapshot-force restores it all the same")
	case errors.Is(err, backup.ErrArchive), errors.Is(err, fsm.ErrSnapshot):
		return &engines.Error{Kind: engines.KindInvalid, Message: "what was sent is not a whole, undamaged snapshot: nothing has changed", Cause: err}
	case errors.Is(err, state.ErrNotLeader):
		return &engines.Error{Kind: engines.KindUnavailable, Message: "no leader is known: try again", Cause: err}
	}
	return &engines.Error{Kind: engines.KindUnavailable, Message: "the snapshot could not be restored: see the node's log", Cause: err}
}
