package issued

import (
	"bytes"
	"context"
	"errors"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// entityMark begins the key of an entity as an owner; with the id behind it, it
// is as long as the key of no token.
const entityMark = "entity/"

func entityKey(id string) []byte { return []byte(entityMark + id) }

// alive reports whether an owner may own leases. That it is there becomes a
// condition of the commit.
func (s *Issued) alive(tx *state.Tx, owner []byte) (bool, error) {
	if id, ok := bytes.CutPrefix(owner, []byte(entityMark)); ok {
		return s.deps.Entity(tx, string(id))
	}
	return s.deps.Tokens.Alive(tx, owner)
}

// own notes that a token or an entity owns leases, and makes it a condition that
// it is there.
func (s *Issued) own(tx *state.Tx, owner []byte) error {
	if len(owner) == 0 {
		return nil
	}
	alive, err := s.alive(tx, owner)
	if err != nil {
		return err
	}
	if !alive {
		return engines.Errorf(engines.KindDenied, "permission denied")
	}
	return note(tx, owner)
}

func note(tx *state.Tx, owner []byte) error {
	key := endingKey(owns, owner)
	marked, err := tx.Get(key)
	if err != nil || marked != nil {
		return err
	}
	return tx.Put(key, nil, state.PutOptions{})
}

// Gone orders that what a token owns, which is removed, be ended.
func (s *Issued) Gone(tx *state.Tx, owner []byte) error {
	return s.leave(tx, owner, bereft, nil)
}

// EntityGone orders that what an entity owns, which is removed, be ended or,
// if it becomes part of another, be that one's.
func (s *Issued) EntityGone(tx *state.Tx, id, into string) error {
	owner, heir, kind := entityKey(id), []byte(nil), bereft
	if into != "" {
		heir, kind = entityKey(into), merged
	}
	// What is on its way to it goes on to where its own goes.
	var passing [][]byte
	err := tx.Scan(endingKey(merged, nil), func(key []byte, order *state.Row) error {
		if bytes.Equal(order.Value, owner) {
			passing = append(passing, bytes.Clone(key))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range passing {
		if err := tx.Put(key, heir, state.PutOptions{}); err != nil {
			return err
		}
	}
	return s.leave(tx, owner, kind, heir)
}

func (s *Issued) leave(tx *state.Tx, owner []byte, kind byte, heir []byte) error {
	key := endingKey(owns, owner)
	marked, err := tx.Get(key)
	if err != nil || marked == nil {
		return err
	}
	if err := tx.Delete(key); err != nil {
		return err
	}
	if heir != nil {
		if err := note(tx, heir); err != nil {
			return err
		}
	}
	return tx.Put(endingKey(kind, owner), heir, state.PutOptions{})
}

// endOwned ends what an owner that is gone owned, or gives it to its heir, and
// then ends the order.
func (s *Issued) endOwned(ctx context.Context, store *state.Store, key, owner []byte) error {
	for done := false; !done; {
		_, err := store.Update(ctx, func(tx *state.Tx) error {
			order, err := tx.Get(key)
			if err != nil || order == nil {
				done = true
				return err
			}
			ids, err := owned(tx, owner, batch)
			if err != nil {
				return err
			}
			if done = len(ids) < batch; done {
				if err := tx.Delete(key); err != nil {
					return err
				}
			}
			if len(order.Value) == 0 {
				return each(tx, ids, (*row).revoke)
			}
			return each(tx, ids, func(r *row, tx *state.Tx) error { return r.inherit(tx, order.Value) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// owned lists the leases of an owner, up to a number.
func owned(tx *state.Tx, owner []byte, most int) (ids []string, err error) {
	prefix := state.Prefix(state.Leases, state.RootNamespace)
	var failed error
	err = tx.Owned(owner, func(row []byte) bool {
		if !bytes.HasPrefix(row, prefix) {
			return true
		}
		var id string
		if id, failed = tx.Store().Barrier().OpenName(prefix, row); failed != nil {
			return false
		}
		ids = append(ids, id)
		return len(ids) < most
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, engines.Internal(err)
	}
	return ids, nil
}

// inherit gives a lease to another entity.
func (r *row) inherit(tx *state.Tx, heir []byte) error {
	if r.Phase == revoking {
		return nil
	}
	r.Owner, r.EntityID = heir, string(bytes.TrimPrefix(heir, []byte(entityMark)))
	return r.put(tx)
}
