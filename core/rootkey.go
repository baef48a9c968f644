package core

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/core/handover"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

const (
	rootKeyCall  = 2 * time.Second
	rootKeyFirst = 20 * time.Millisecond
	rootKeyMost  = 30 * time.Second
)

// RootKey answers the question of a member that has the keyring, but an earlier
// root key.
func (c *Core) RootKey(question []byte) ([]byte, error) {
	u := c.current.Load()
	if u == nil {
		return nil, c.notServing()
	}
	u.keyMu.Lock()
	rootKey := bytes.Clone(u.rootKey)
	u.keyMu.Unlock()
	defer clear(rootKey)
	if err := u.checkRootKey(rootKey); err != nil {
		return nil, engines.Errorf(engines.KindUnavailable, "this node does not have the root key either")
	}
	key, err := u.handoverKey()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return handover.Answer(key, question, rootKey)
}

func (u *Unsealed) handoverKey() ([]byte, error) {
	keyring, err := u.barrier.Keyring()
	if err != nil {
		return nil, err
	}
	defer keyring.Zero()
	return keyring.Derive(handover.Label, handover.KeyBytes), nil
}

// missRootKey has the node ask the others for the root key.
func (u *Unsealed) missRootKey() {
	select {
	case u.missing <- struct{}{}:
	default: // it is asking already
	}
}

// followRootKey asks the other nodes for the root key whenever this one has an
// earlier one, until one of them has told it.
func (u *Unsealed) followRootKey() {
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-u.missing:
		}
		for wait := rootKeyFirst; !u.takeRootKey(u.ctx); wait = min(2*wait, rootKeyMost) {
			if wait == rootKeyMost {
				u.log.Warn("the root key was replaced on another node, and none that is reachable has it: seal this one, and unseal it with the new key shares")
			}
			timer := time.NewTimer(wait)
			select {
			case <-u.ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}
}

// takeRootKey makes the root key this node's that opens the keyring; false if
// nobody has told it.
func (u *Unsealed) takeRootKey(ctx context.Context) bool {
	u.keyMu.Lock()
	own := bytes.Clone(u.rootKey)
	u.keyMu.Unlock()
	defer clear(own)
	if u.checkRootKey(own) == nil {
		return true
	}
	members := u.core.cfg.Node.Status().Members
	slices.SortStableFunc(members, func(a, b Member) int { // the leader first
		return boolInt(b.Leader) - boolInt(a.Leader)
	})
	for _, m := range members {
		if m.ID == u.core.cfg.Node.Status().ID {
			continue
		}
		rootKey, err := u.askRootKey(ctx, m.ID)
		if err != nil {
			u.log.Debug("a node did not tell the root key", "member", m.ID, "error", err)
			continue
		}
		err = u.followTo(rootKey)
		clear(rootKey)
		if err == nil {
			u.log.Info("the root key was replaced, and another node has told it", "member", m.ID)
			return true
		}
	}
	return false
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (u *Unsealed) askRootKey(ctx context.Context, member string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, rootKeyCall)
	defer cancel()
	key, err := u.handoverKey()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	question := handover.Question()
	answer, err := u.core.cfg.Peers.RootKey(ctx, member, question)
	if err != nil {
		return nil, err
	}
	return handover.Open(key, question, answer)
}

// followTo takes over a root key, if it opens the keyring, and that.
func (u *Unsealed) followTo(rootKey []byte) error {
	u.keyMu.Lock()
	defer u.keyMu.Unlock()
	sealed, err := state.ReadBoot(u.core.cfg.Node, bootKeyring)
	if err != nil {
		return err
	}
	keyring, err := seal.OpenKeyring(rootKey, sealed)
	if err != nil {
		return err
	}
	defer keyring.Zero()
	if err := u.barrier.Install(keyring); err != nil {
		return err
	}
	old := u.rootKey
	u.rootKey = bytes.Clone(rootKey)
	clear(old)
	return nil
}
