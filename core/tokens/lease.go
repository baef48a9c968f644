package tokens

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/leases"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// leaseSource are the leases of service tokens that end. A lease is called by
// the path that its token was made at and the token's key, which only who has
// the token's id could work out.
type leaseSource struct{ tokens *Tokens }

var _ leases.Source = leaseSource{}

// Leases returns the leases of tokens.
func (s *Tokens) Leases() leases.Source { return leaseSource{s} }

// leaseMark begins the last segment of a token's lease.
const leaseMark = "h"

// LeaseID is what the token's lease is called.
func (t *Token) LeaseID() string { return t.Path + "/" + leaseMark + t.Key() }

func (t *Token) lease() *leases.Lease {
	return &leases.Lease{ID: t.LeaseID(), Issued: t.Created, Expires: t.Expiry, Renewed: t.LastRenewal, Renewable: t.Renewable, Path: t.Path}
}

// leased reports whether the token has a lease: one that does not end has none.
func (t *Token) leased(now time.Time) bool { return !t.Gone && !t.Expiry.IsZero() && !t.expired(now) }

// token returns the token of a lease, or nil.
func (l leaseSource) token(tx *state.Tx, id string) (*Token, error) {
	_, name, ok := strings.Cut(id[strings.LastIndexByte(id, '/')+1:], leaseMark)
	key, err := hex.DecodeString(name)
	if !ok || err != nil || len(key) == 0 {
		return nil, nil //nolint:nilerr // a malformed id is that of no lease
	}
	t, err := l.tokens.load(tx, key)
	if err != nil || t == nil || !t.leased(tx.Now()) || t.LeaseID() != id {
		return nil, err
	}
	switch _, err := l.tokens.ancestors(tx, t); {
	case engines.KindOf(err) == engines.KindUnauthorized:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return t, nil
}

// Find implements leases.Source.
func (l leaseSource) Find(tx *state.Tx, id string) (*leases.Lease, error) {
	t, err := l.token(tx, id)
	if err != nil || t == nil {
		return nil, err
	}
	return t.lease(), nil
}

// Renew implements leases.Source.
func (leaseSource) Renew(*state.Tx, string, time.Duration, any) (*leases.Lease, string, error) {
	return nil, "", engines.Invalidf("tokens cannot be renewed through this endpoint")
}

// Revoke implements leases.Source.
func (l leaseSource) Revoke(tx *state.Tx, id string) error {
	t, err := l.token(tx, id)
	if err != nil || t == nil {
		return err
	}
	return l.tokens.Revoke(tx, t)
}

// Walk implements leases.Source. Tokens are kept in no order of their paths: it
// looks at all of them.
func (l leaseSource) Walk(tx *state.Tx, dir string, fn func(id string) error) error {
	return scanTokens(tx, nil, func(t *Token) ([]byte, error) {
		if id := t.LeaseID(); t.leased(tx.Now()) && strings.HasPrefix(id, dir) {
			return nil, fn(id)
		}
		return nil, nil
	})
}

// scanTokens visits the stored tokens with a key above after, until fn returns
// an error or where to go on.
func scanTokens(tx *state.Tx, after []byte, fn func(t *Token) (seek []byte, err error)) error {
	prefix := state.Prefix(state.Tokens, state.RootNamespace)
	return tx.ScanKeys(prefix, func(row []byte) ([]byte, error) {
		key := row[len(prefix):]
		if bytes.Compare(key, after) <= 0 {
			if len(after) > 0 {
				return rowKey(append(bytes.Clone(after), 0)), nil
			}
			return nil, nil
		}
		stored, err := tx.Peek(row)
		if err != nil || stored == nil {
			return nil, err
		}
		t := &Token{key: bytes.Clone(key), text: hex.EncodeToString(key)}
		if err := json.Unmarshal(stored.Value, t); err != nil {
			return nil, engines.Internal(err)
		}
		return fn(t)
	})
}

// prefixBatch bounds how many tokens one transaction of RevokePrefix removes.
const prefixBatch = 200

// RevokePrefix implements leases.Source.
func (l leaseSource) RevokePrefix(ctx context.Context, store *state.Store, prefix string, _ leases.How) error {
	dir := strings.TrimSuffix(prefix, "/") + "/"
	return l.revokeAll(ctx, store, func(tx *state.Tx, t *Token) bool {
		return strings.HasPrefix(t.LeaseID()+"/", dir) && t.leased(tx.Now())
	})
}

// Prepare implements leases.Source.
func (leaseSource) Prepare(*state.Tx, string, time.Duration) (func(ctx context.Context) (any, error), error) {
	return nil, nil
}

// Settle implements leases.Source: tokens end with the transaction that ends them.
func (leaseSource) Settle(context.Context, *state.Store, string) error { return nil }

// revokeAll removes the tokens that which picks. Descendants of what it removes
// are dead at once, and reaped later.
func (l leaseSource) revokeAll(ctx context.Context, store *state.Store, which func(tx *state.Tx, t *Token) bool) error {
	var after []byte
	for {
		var found [][]byte
		err := store.View(ctx, func(tx *state.Tx) error {
			found = found[:0]
			return scanTokens(tx, after, func(t *Token) ([]byte, error) {
				if which(tx, t) {
					found = append(found, t.key)
				}
				if len(found) >= prefixBatch {
					return []byte{byte(state.Tokens) + 1}, nil // past the table
				}
				return nil, nil
			})
		})
		if err != nil || len(found) == 0 {
			return err
		}
		after = found[len(found)-1]
		_, err = store.Update(ctx, func(tx *state.Tx) error { return l.removeSome(tx, found) })
		if err != nil {
			return err
		}
	}
}

func (l leaseSource) removeSome(tx *state.Tx, keys [][]byte) error {
	for _, key := range keys {
		t, err := l.tokens.load(tx, key)
		if err != nil {
			return err
		}
		if t == nil || t.Gone {
			continue // revoked meanwhile, perhaps without its children
		}
		if err := l.tokens.removeAndReap(tx, key); err != nil {
			return err
		}
	}
	return nil
}
