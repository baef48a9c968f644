package tokens

import (
	"bytes"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// revokeBatch bounds how many tokens one transaction removes. More than that
// are dead at once all the same, and are reaped in further transactions.
const revokeBatch = 500

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
	children, err := s.children(tx, t.key)
	if err != nil {
		return err
	}
	for _, key := range children {
		child, err := s.load(tx, key)
		if err != nil {
			return err
		}
		if child == nil {
			continue
		}
		orphan := *child
		orphan.Parent = nil
		if err := orphan.put(tx); err != nil {
			return err
		}
	}
	return s.remove(tx, t.key)
}

// RevokeExpired removes a token that has ended, named by its row's key in the
// state, unless it has been renewed meanwhile.
func (s *Tokens) RevokeExpired(tx *state.Tx, row []byte) error {
	key := bytes.TrimPrefix(row, state.Prefix(state.Tokens, state.RootNamespace))
	t, err := s.load(tx, key)
	if err != nil || t == nil || !t.expired(tx.Now()) {
		return err
	}
	return s.revokeTree(tx, key)
}

// Left reports whether an earlier revocation left descendants to Reap.
func (s *Tokens) Left(tx *state.Tx) (bool, error) {
	key, err := firstLeft(tx)
	return key != nil, err
}

// Reap removes descendants that an earlier revocation left, up to one
// transaction's worth.
func (s *Tokens) Reap(tx *state.Tx) error {
	key, err := firstLeft(tx)
	if err != nil || key == nil {
		return err
	}
	if err := tx.Delete(key); err != nil {
		return err
	}
	return s.revokeTree(tx, bytes.TrimPrefix(key, state.Prefix(state.Reap, state.RootNamespace)))
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

// revokeTree removes the token with a key and its descendants. Past the bound,
// what is left is noted in the table Reap: it is unusable already, since its
// chain of parents is broken.
func (s *Tokens) revokeTree(tx *state.Tx, root []byte) error {
	queue := [][]byte{root}
	for n := 0; len(queue) > 0; n++ {
		key := queue[0]
		queue = queue[1:]
		if n >= revokeBatch {
			if err := tx.Put(state.Key(state.Reap, state.RootNamespace, key), []byte{1}, state.PutOptions{}); err != nil {
				return err
			}
			continue
		}
		children, err := s.childrenUpTo(tx, key, 4*revokeBatch)
		if err != nil {
			return err
		}
		if len(children) == 4*revokeBatch { // there may be more: come back to this token
			again := state.Key(state.Reap, state.RootNamespace, key)
			if err := tx.Put(again, []byte{1}, state.PutOptions{}); err != nil {
				return err
			}
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
	return s.cubbyhole(tx, t.Key())
}

func (s *Tokens) children(tx *state.Tx, key []byte) ([][]byte, error) {
	return s.childrenUpTo(tx, key, 0)
}

// childrenUpTo lists the keys of a token's children, limit of them (0 = all).
func (s *Tokens) childrenUpTo(tx *state.Tx, key []byte, limit int) ([][]byte, error) {
	var list [][]byte
	prefix := state.Prefix(state.Tokens, state.RootNamespace)
	err := tx.Owned(key, func(row []byte) bool {
		if bytes.HasPrefix(row, prefix) {
			list = append(list, row[len(prefix):])
		}
		return limit == 0 || len(list) < limit
	})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return list, nil
}
