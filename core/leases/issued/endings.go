package issued

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// What a row of the table Endings is about, after which comes the key of a token
// or the accessor of a mount.
const (
	// owns marks a token that owns leases, or did.
	owns byte = 'o'
	// bereft is an order to end the leases of a token that is gone.
	bereft byte = 'g'
	// merged is an order to give the leases of an entity that is part of another
	// now to that one.
	merged byte = 'p'
	// unmounted is an order to end the leases of a mount, or the tokens of a way to
	// log in, that is gone.
	unmounted byte = 'm'
	// moved is an order to end the leases that a mount gave at another path.
	moved byte = 'v'
)

func endingKey(kind byte, name []byte) []byte {
	return state.Key(state.Endings, state.RootNamespace, []byte{kind}, name)
}

// Unmount orders that what a mount issued be ended, which has been removed from
// the table and whose storage is kept for that.
func (s *Issued) Unmount(tx *state.Tx, m *mounts.Mounted) error {
	return s.order(tx, unmounted, m)
}

// Moved orders that what a mount has issued be ended, whose leases are called by
// a path that it no longer has.
func (s *Issued) Moved(tx *state.Tx, m *mounts.Mounted) error {
	return s.order(tx, moved, m)
}

// order is what a row about a mount holds.
type order struct {
	mounts.Entry
	// At is when it was given: what was issued later is not meant.
	At time.Time `json:"at"`
}

func (s *Issued) order(tx *state.Tx, kind byte, m *mounts.Mounted) error {
	value, err := json.Marshal(order{m.Entry, tx.Now()})
	if err != nil {
		return engines.Internal(err)
	}
	name := []byte(m.Accessor)
	if kind == moved { // perhaps more than once
		sum := sha256.Sum256([]byte(m.Path))
		name = append(append(name, '/'), sum[:8]...)
	}
	return tx.Put(endingKey(kind, name), value, state.PutOptions{})
}

// mount finds a mount, also one that is gone and has leases left; nil if there
// is none.
func (s *Issued) mount(tx *state.Tx, accessor string) (*mounts.Mounted, error) {
	router, err := s.deps.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	if m, ok := router.ByAccessor(accessor); ok {
		return m, nil
	}
	left, err := tx.Get(endingKey(unmounted, []byte(accessor)))
	if err != nil || left == nil {
		return nil, err
	}
	_, m, err := s.ordered(left)
	return m, err
}

func (s *Issued) ordered(left *state.Row) (o order, m *mounts.Mounted, err error) {
	if err := json.Unmarshal(left.Value, &o); err != nil {
		return o, nil, engines.Internal(err)
	}
	m, err = s.deps.Mounts().Of(o.Entry)
	return o, m, err
}

// maxEndings bounds how many orders are carried out at a time.
const maxEndings = 256

// end carries out the orders.
func (s *Issued) end(ctx context.Context, store *state.Store) error {
	var problems []error
	for _, kind := range []byte{bereft, merged, unmounted, moved} {
		prefix := endingKey(kind, nil)
		var orders [][]byte
		err := store.Local(func(tx *state.Tx) error {
			return tx.ScanKeys(prefix, func(key []byte) ([]byte, error) {
				if orders = append(orders, key); len(orders) >= maxEndings {
					return []byte{byte(state.Endings) + 1}, nil
				}
				return nil, nil
			})
		})
		problems = append(problems, err)
		for _, key := range orders {
			switch kind {
			case bereft, merged:
				problems = append(problems, s.endOwned(ctx, store, key, bytes.TrimPrefix(key, prefix)))
			default:
				problems = append(problems, s.endMount(ctx, store, key, kind == unmounted))
			}
		}
	}
	return errors.Join(problems...)
}

// remains is what of a mount's leases there is.
type remains struct {
	mount *mounts.Mounted
	// turn are leases that are to be revoked; any says that there are others, or
	// those.
	turn []string
	any  bool
}

// maxTurned bounds how many leases a round of endMount turns.
const maxTurned = 20_000

func (s *Issued) remains(tx *state.Tx, key []byte) (*remains, error) {
	given, err := tx.Get(key)
	if err != nil || given == nil {
		return nil, err
	}
	o, mount, err := s.ordered(given)
	if err != nil {
		return nil, err
	}
	out := &remains{mount: mount}
	err = walk(tx, o.Path, func(id string) error {
		r, err := load(tx, id)
		if err != nil || r == nil || r.Mount != o.Accessor || r.Issued.After(o.At) {
			return err
		}
		out.any = true
		if r.Phase != revoking && len(out.turn) < maxTurned {
			out.turn = append(out.turn, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// What it issued where it was before needs its storage too.
	earlier := endingKey(moved, append([]byte(o.Accessor), '/'))
	return out, tx.ScanKeys(earlier, func(other []byte) ([]byte, error) {
		out.any = out.any || !bytes.Equal(other, key)
		return nil, nil
	})
}

// endMount ends what a mount issued. The storage of one that is gone, and the
// order, go when nothing of it is left.
func (s *Issued) endMount(ctx context.Context, store *state.Store, key []byte, drop bool) error {
	if !s.pace.due(key) {
		return nil
	}
	began := time.Now()
	var r *remains
	err := store.Local(func(tx *state.Tx) (err error) {
		r, err = s.remains(tx, key)
		return err
	})
	if err != nil || r == nil {
		return err
	}
	s.pace.looked(key, time.Since(began))
	if r.mount.Class == engines.ClassAuth {
		if err := s.deps.Tokens.RevokeWay(ctx, store, r.mount.Accessor); err != nil {
			return err
		}
	}
	if err := s.endAll(ctx, store, r.turn, (*row).revoke); err != nil || r.any {
		return err // what is left is looked after in another round
	}
	_, err = store.Update(ctx, func(tx *state.Tx) error {
		if drop {
			if err := r.mount.Empty(tx); err != nil {
				return err
			}
		}
		return tx.Delete(key)
	})
	return err
}

// reach is what the engine of a mount has to undo what it issued, also when the
// mount itself is gone.
func (s *Issued) reach(store *state.Store, m *mounts.Mounted) *engines.Reach {
	return m.Reach(store, func(tx *state.Tx) (bool, error) {
		there, err := s.mount(tx, m.Accessor)
		return there != nil, err
	})
}
