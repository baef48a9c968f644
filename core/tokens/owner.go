package tokens

import (
	"bytes"
	"context"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// RandomText returns n random letters and digits.
func RandomText(n int) string { return randomText(n) }

// OwnerKey is the key of the token that what this one makes ends with: itself,
// or the parent of a batch token, which is stored nowhere; nil for none.
func (t *Token) OwnerKey() []byte {
	if t.Type == Batch {
		return t.Parent
	}
	return t.key
}

// Alive reports whether the token with a key may be used. That it is stored
// becomes a condition of the commit. An empty key is that of no token: nothing
// ends with it.
func (s *Tokens) Alive(tx *state.Tx, key []byte) (bool, error) {
	if len(key) == 0 {
		return true, nil
	}
	tx.RequireExists(rowKey(key))
	t, err := s.load(tx, key)
	if err != nil || t == nil || t.Gone || t.expired(tx.Now()) {
		return false, err
	}
	switch _, err := s.ancestors(tx, t); {
	case engines.KindOf(err) == engines.KindUnauthorized:
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// RevokeWay ends the tokens that a way to log in made, in as many transactions
// as it takes.
func (s *Tokens) RevokeWay(ctx context.Context, store *state.Store, accessor string) error {
	return leaseSource{s}.revokeAll(ctx, store, func(_ *state.Tx, t *Token) bool {
		return t.Way == accessor && !t.Gone
	})
}

// own ends what a token that is being removed owns.
func (s *Tokens) own(tx *state.Tx, key []byte) error {
	if s.deps.Gone == nil {
		return nil
	}
	return s.deps.Gone(tx, bytes.Clone(key))
}
