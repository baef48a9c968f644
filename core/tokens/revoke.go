package tokens

import (
	"bytes"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// revokeBatch bounds how many tokens one transaction removes or orphans. What
// is more is noted in the table Reap and done in further transactions; it is
// dead, or an orphan, at once all the same.
const revokeBatch = 500

// What a row of the table Reap asks to be done with the children of a token
// that is gone.
const (
	reapRevoke byte = 1
	reapOrphan byte = 2
)

func reapKey(key []byte) []byte { return state.Key(state.Reap, state.RootNamespace, key) }

// Revoke removes a token and everything below it.
func (s *Tokens) Revoke(tx *state.Tx, t *Token) error {
	if t.Type == Batch {
		return engines.Invalidf("batch tokens cannot be revoked")
	}
	return s.revokeTree(tx, t.key)
}

// RevokeOrphan removes a token and makes orphans of its children.
func (s *Tokens) RevokeOrphan(tx *state.Tx, t *Token) error {
	if t.Type == Batch {
		return engines.Invalidf("batch tokens cannot be revoked")
	}
	if err := s.remove(tx, t.key); err != nil {
		return err
	}
	more, err := s.orphanSome(tx, t.key)
	if err != nil || !more {
		return err
	}
	// The rest are orphans from now on, since what is left of their parent says
	// so, and get to know it later.
	left := &Token{Type: Service, Gone: true, key: t.key}
	if err := left.put(tx); err != nil {
		return err
	}
	return tx.Put(reapKey(t.key), []byte{reapOrphan}, state.PutOptions{})
}

// orphanSome makes orphans of a token's children, and reports whether there
// are more.
func (s *Tokens) orphanSome(tx *state.Tx, parent []byte) (more bool, err error) {
	children, err := s.children(tx, parent, revokeBatch+1)
	if err != nil {
		return false, err
	}
	for _, key := range children[:min(len(children), revokeBatch)] {
		child, err := s.load(tx, key)
		if err != nil {
			return false, err
		}
		if child == nil {
			continue
		}
		orphan := *child
		orphan.Parent = nil
		if err := orphan.put(tx); err != nil {
			return false, err
		}
	}
	return len(children) > revokeBatch, nil
}

// RevokeExpired removes a token that has ended, named by its row's key in the
// state, unless it has been renewed meanwhile. Its descendants are left to Reap.
func (s *Tokens) RevokeExpired(tx *state.Tx, row []byte) error {
	key := bytes.TrimPrefix(row, state.Prefix(state.Tokens, state.RootNamespace))
	t, err := s.load(tx, key)
	if err != nil || t == nil || !t.expired(tx.Now()) {
		return err
	}
	return s.removeAndReap(tx, key)
}

// removeAndReap removes one token and leaves its descendants to Reap.
func (s *Tokens) removeAndReap(tx *state.Tx, key []byte) error {
	children, err := s.children(tx, key, 1)
	if err != nil {
		return err
	}
	if len(children) > 0 {
		if err := tx.Put(reapKey(key), []byte{reapRevoke}, state.PutOptions{}); err != nil {
			return err
		}
	}
	return s.remove(tx, key)
}

// Left reports whether an earlier revocation left something to Reap.
func (s *Tokens) Left(tx *state.Tx) (bool, error) {
	key, err := firstLeft(tx)
	return key != nil, err
}

// Reap does what an earlier revocation left, up to one transaction's worth.
func (s *Tokens) Reap(tx *state.Tx) error {
	row, err := firstLeft(tx)
	if err != nil || row == nil {
		return err
	}
	what, err := tx.Get(row)
	if err != nil || what == nil {
		return err
	}
	key := bytes.TrimPrefix(row, state.Prefix(state.Reap, state.RootNamespace))
	if !bytes.Equal(what.Value, []byte{reapOrphan}) {
		if err := tx.Delete(row); err != nil {
			return err
		}
		return s.revokeTree(tx, key)
	}
	more, err := s.orphanSome(tx, key)
	if err != nil || more {
		return err
	}
	if err := tx.Delete(row); err != nil {
		return err
	}
	return tx.Delete(rowKey(key))
}

func firstLeft(tx *state.Tx) (first []byte, err error) {
	err = tx.ScanKeys(state.Prefix(state.Reap, state.RootNamespace), func(key []byte) ([]byte, error) {
		if first == nil {
			first = key
		}
		return []byte{byte(state.Reap) + 1}, nil // past the table: one is enough
	})
	return first, err
}

// revokeTree removes the token with a key and its descendants. A token whose
// children are too many is removed too, and noted to come back to: they are
// unusable already, since their chain of parents is broken.
func (s *Tokens) revokeTree(tx *state.Tx, root []byte) error {
	queue := [][]byte{root}
	for n := 0; n < len(queue); n++ {
		key := queue[n]
		room := revokeBatch - len(queue)
		children, err := s.children(tx, key, room+1)
		if err != nil {
			return err
		}
		if len(children) > room {
			if err := tx.Put(reapKey(key), []byte{reapRevoke}, state.PutOptions{}); err != nil {
				return err
			}
			children = children[:room]
		}
		queue = append(queue, children...)
		if err := s.remove(tx, key); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the rows of one token.
func (s *Tokens) remove(tx *state.Tx, key []byte) error {
	t, err := s.load(tx, key)
	if err != nil || t == nil {
		return err
	}
	if err := tx.Delete(s.accessorKey(t.Accessor)); err != nil {
		return err
	}
	if err := tx.Delete(rowKey(key)); err != nil {
		return err
	}
	if err := tx.Delete(state.Key(state.Cubbyholes, state.RootNamespace, key)); err != nil {
		return err
	}
	if t.Counted != "" {
		if err := s.deps.Free(tx, t.Counted); err != nil {
			return err
		}
	}
	if err := s.own(tx, key); err != nil {
		return err
	}
	return s.deps.Cubbyhole(tx, t.Key())
}

// children lists the keys of a token's children, at most limit of them.
func (s *Tokens) children(tx *state.Tx, key []byte, limit int) ([][]byte, error) {
	var list [][]byte
	prefix := state.Prefix(state.Tokens, state.RootNamespace)
	err := tx.Owned(key, func(row []byte) bool {
		if bytes.HasPrefix(row, prefix) {
			list = append(list, row[len(prefix):])
		}
		return len(list) < limit
	})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return list, nil
}
