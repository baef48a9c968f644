package core

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/system"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// countStep is how many encryptions are recorded ahead: after a crash they count
// as done, so that a key is never used more often than it is said to be.
const countStep = 1 << 18

// countFirst bounds how long unsealing waits for the first of these records.
const countFirst = 2 * time.Second

// changeKeyring runs change on the present keyring and commits what it
// returns, sealed under rootKey. The caller holds keyMu.
func (u *Unsealed) changeKeyring(ctx context.Context, rootKey []byte, more map[string][]byte, change func(k *seal.Keyring) (*seal.Keyring, error)) error {
	var present, changed *seal.Keyring // perhaps the same
	forget := func() {
		for _, k := range []*seal.Keyring{present, changed} {
			if k != nil {
				k.Zero()
			}
		}
		present, changed = nil, nil
	}
	defer forget()
	_, err := u.store.Plain().Update(ctx, func(tx *state.Tx) error {
		forget()
		sealed, err := tx.GetBoot(bootKeyring)
		if err != nil {
			return err
		}
		if present, err = seal.OpenKeyring(u.rootKey, sealed); err != nil {
			return engines.Internal(err)
		}
		// What a leader of before has recorded counts before more is added.
		if err := u.barrier.Install(present); err != nil {
			return engines.Internal(err)
		}
		if changed, err = change(present); err != nil {
			return engines.Internal(err)
		}
		if sealed, err = changed.Seal(rootKey); err != nil {
			return engines.Internal(err)
		}
		if err := tx.PutBoot(bootKeyring, sealed); err != nil {
			return err
		}
		return putRows(tx, more)
	})
	if err != nil {
		return err
	}
	if err := u.barrier.InstallOwn(changed); err != nil {
		return engines.Internal(err)
	}
	return nil
}

// putRows writes boot rows; a nil value leaves the row as it is.
func putRows(tx *state.Tx, rows map[string][]byte) error {
	for _, name := range []string{bootSeal, bootRoot, bootRecovery, bootBackup, bootBackup + "-recovery"} {
		if value := rows[name]; value != nil {
			if err := tx.PutBoot(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// rotate adds a term to the keyring; new values are sealed under it from now on.
func (u *Unsealed) rotate(ctx context.Context) error {
	u.keyMu.Lock()
	defer u.keyMu.Unlock()
	now := u.store.Now()
	return u.changeKeyring(ctx, u.rootKey, nil, func(k *seal.Keyring) (*seal.Keyring, error) {
		active := k.Active()
		next, err := k.WithEncryptions(active.Number, u.barrier.Encryptions()).Rotate(rand.Reader, now)
		if err != nil {
			return nil, err
		}
		return next.WithEncryptions(next.Active().Number, countStep), nil
	})
}

// countAhead is keepCount before the node serves, if it leads. What fails is done
// once it leads.
func (u *Unsealed) countAhead() {
	if !u.core.cfg.Node.Status().Leader {
		return
	}
	ctx, cancel := context.WithTimeout(u.ctx, countFirst)
	defer cancel()
	if err := u.keepCount(ctx); err != nil {
		u.log.Debug("the uses of the key were not recorded, and will be", "error", err)
	}
}

// keepCount records how often the active key may have been used by the time that
// more is recorded.
func (u *Unsealed) keepCount(ctx context.Context) error {
	u.keyMu.Lock()
	defer u.keyMu.Unlock()
	if u.barrier.Recorded() >= u.barrier.Encryptions()+countStep/2 {
		return nil
	}
	return u.changeKeyring(ctx, u.rootKey, nil, func(k *seal.Keyring) (*seal.Keyring, error) {
		return k.WithEncryptions(k.Active().Number, u.barrier.Encryptions()+countStep), nil
	})
}

// rotateRoot replaces the root key that the seal keeps. One that is in shares
// is replaced with them, by those who have them.
func (u *Unsealed) rotateRoot(ctx context.Context) error {
	wrapper := u.core.cfg.Wrapper
	if wrapper == nil {
		return engines.Invalidf("the root key is in the key shares: use sys/rotate/root/init, which makes new ones")
	}
	key, err := seal.NewRootKey(rand.Reader)
	if err != nil {
		return engines.Internal(err)
	}
	defer clear(key)
	wrapped, err := seal.WrapRootKey(ctx, wrapper, key)
	if err != nil {
		return &engines.Error{Kind: engines.KindUpstream, Message: "the seal could not wrap the root key", Cause: err}
	}
	u.keyMu.Lock()
	defer u.keyMu.Unlock()
	return u.adoptRootKey(ctx, key, map[string][]byte{bootRoot: wrapped})
}

// adoptRootKey seals the keyring under another root key, and writes with it the
// rows that keep the key. The caller holds keyMu.
func (u *Unsealed) adoptRootKey(ctx context.Context, key []byte, rows map[string][]byte) error {
	err := u.changeKeyring(ctx, key, rows, func(k *seal.Keyring) (*seal.Keyring, error) {
		return k.WithEncryptions(k.Active().Number, u.barrier.Encryptions()), nil
	})
	if err != nil {
		return err
	}
	old := u.rootKey
	u.rootKey = bytes.Clone(key)
	clear(old)
	return nil
}

// checkRootKey returns an error unless key opens the keyring.
func (u *Unsealed) checkRootKey(key []byte) error {
	sealed, err := state.ReadBoot(u.core.cfg.Node, bootKeyring)
	if err != nil {
		return err
	}
	keyring, err := seal.OpenKeyring(key, sealed)
	if err != nil {
		return err
	}
	keyring.Zero()
	return nil
}

// replaceRootKey seals the keyring under the root key that a rekey made, and
// makes its shares the only ones.
func (u *Unsealed) replaceRootKey(ctx context.Context, r *rekeying) error {
	u.keyMu.Lock()
	defer u.keyMu.Unlock()
	rows := map[string][]byte{
		bootSeal:   mustJSON(sealRow{Type: sealShamir, Generation: r.made}),
		bootBackup: r.backup(),
	}
	err := u.adoptRootKey(ctx, r.key, rows)
	if errors.Is(err, state.ErrUnknownOutcome) {
		clear(u.pending)
		u.pending = bytes.Clone(r.key) // the keyring will tell
	}
	return err
}

// settleRootKey opens the keyring with the root key whose commit had no known
// outcome, which this node alone has. The caller holds keyMu.
func (u *Unsealed) settleRootKey(sealed []byte) (*seal.Keyring, error) {
	keyring, err := seal.OpenKeyring(u.pending, sealed)
	if err != nil {
		return nil, err
	}
	clear(u.rootKey)
	u.rootKey, u.pending = u.pending, nil
	return keyring, nil
}

// commitBoot writes boot rows that a rekey of the recovery key made.
func (u *Unsealed) commitBoot(ctx context.Context, rows map[string][]byte, r *rekeying) error {
	rows[bootBackup+"-recovery"] = r.backup()
	_, err := u.store.Update(ctx, func(tx *state.Tx) error { return putRows(tx, rows) })
	return err
}

// followKeyring is reloadKeyring for requests. What cannot be taken over since a
// snapshot has replaced the state is taken up at once, and asked for again.
func (u *Unsealed) followKeyring() error {
	err := u.reloadKeyring()
	if !errors.Is(err, seal.ErrKeyringMismatch) {
		return err
	}
	u.core.background.Go(func() { u.core.followRestore(u, earlier) })
	return &engines.Error{Kind: engines.KindUnavailable, Message: "the state was restored from a snapshot, and this node is reading its keys: try again", Cause: err}
}

// reloadKeyring takes over a keyring that another node has changed.
//
// After a rekey the root key is one that only the new shares tell, and other nodes.
// The keyring itself is the same then, so this node goes on with the one that it has
// until it has been told: it refuses what it cannot open if there is a later one.
func (u *Unsealed) reloadKeyring() error {
	u.keyMu.Lock()
	defer u.keyMu.Unlock()
	sealed, err := state.ReadBoot(u.core.cfg.Node, bootKeyring)
	if err != nil || sealed == nil {
		return err
	}
	keyring, err := seal.OpenKeyring(u.rootKey, sealed)
	if errors.Is(err, seal.ErrWrongKey) && u.core.cfg.Wrapper != nil {
		keyring, err = u.reloadRootKey(sealed)
	}
	if errors.Is(err, seal.ErrWrongKey) && u.pending != nil {
		keyring, err = u.settleRootKey(sealed)
	}
	if errors.Is(err, seal.ErrWrongKey) {
		u.missRootKey()
		return nil
	}
	if err != nil {
		return engines.Internal(err)
	}
	defer keyring.Zero()
	return u.barrier.Install(keyring)
}

// reloadRootKey takes over a root key that another node has made, and opens the
// keyring with it. The caller holds keyMu.
func (u *Unsealed) reloadRootKey(sealed []byte) (*seal.Keyring, error) {
	wrapped, err := state.ReadBoot(u.core.cfg.Node, bootRoot)
	if err != nil {
		return nil, err
	}
	key, err := seal.UnwrapRootKey(u.ctx, u.core.cfg.Wrapper, wrapped)
	if err != nil {
		return nil, err
	}
	keyring, err := seal.OpenKeyring(key, sealed)
	if err != nil {
		clear(key)
		return nil, err
	}
	clear(u.rootKey)
	u.rootKey = key
	return keyring, nil
}

// rotateConfigKey is where the rules of automatic rotation are kept.
func rotateConfigKey() []byte { return state.Key(state.Config, state.RootNamespace, []byte("rotate")) }

// rotation returns the rules of automatic rotation.
func rotation(tx *state.Tx) (system.Rotation, error) {
	out := system.Rotation{Enabled: true, MaxOperations: seal.RotateAt}
	row, err := tx.Get(rotateConfigKey())
	if err != nil || row == nil {
		return out, err
	}
	if err := json.Unmarshal(row.Value, &out); err != nil {
		return out, engines.Internal(err)
	}
	return out, nil
}

// rotateIfDue rotates the key when its time or its number of uses is up.
func (u *Unsealed) rotateIfDue(ctx context.Context) error {
	var rules system.Rotation
	err := u.store.Local(func(tx *state.Tx) (err error) {
		rules, err = rotation(tx)
		return err
	})
	if err != nil || !rules.Enabled {
		return err
	}
	keyring, err := u.barrier.Keyring()
	if err != nil {
		return err
	}
	defer keyring.Zero()
	interval := time.Duration(rules.Interval) * time.Second
	aged := interval > 0 && u.store.Now().Sub(keyring.Active().InstallTime) >= interval
	if !aged && u.barrier.Encryptions() < uint64(rules.MaxOperations) { // #nosec G115 -- validated to be positive
		return nil
	}
	return u.rotate(ctx)
}
