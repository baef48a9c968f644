package tokens

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// What tokens start with.
const (
	servicePrefix = "cfs."
	batchPrefix   = "cfb."
	maxIDBytes    = 8 << 10
	maxDepth      = 64
	idChars       = 24
)

// IDLength is the length of the id of a service token that Coffer made.
const IDLength = len(servicePrefix) + idChars

// batchPlace binds sealed batch tokens to being that.
var batchPlace = []byte("batch token")

// ErrInvalid is the answer to a token that is unknown, revoked or expired. They
// are not told apart here: to the holder they are the same.
func ErrInvalid() error {
	return &engines.Error{Kind: engines.KindUnauthorized, Message: "permission denied", Details: []string{"invalid token"}}
}

// Cubbyhole empties what a token stored for itself.
type Cubbyhole func(tx *state.Tx, tokenKey string) error

// Tokens creates, finds and revokes tokens. It is safe for concurrent use.
type Tokens struct {
	barrier *seal.Barrier
	macs    sync.Pool // of HMACs under the key that hides ids
	cache   *state.Cache[*Token]
	deps    Deps
}

// Deps are what else tokens touch.
type Deps struct {
	Cubbyhole Cubbyhole
	Ways      Ways
	// Count, if set, counts a token that is made at a path and will end, in a
	// role or none, or refuses it; what it returns is given to Free when the
	// token has ended, unless it is empty.
	Count func(tx *state.Tx, path, role string) (id string, err error)
	Free  func(tx *state.Tx, id string) error
	// Gone, if set, is told the key of a token that is removed, with which what it
	// owns ends.
	Gone func(tx *state.Tx, key []byte) error
}

// New returns the tokens of a state whose ids are hidden under idKey.
func New(barrier *seal.Barrier, idKey []byte, deps Deps) *Tokens {
	return &Tokens{
		barrier: barrier, cache: state.NewCache[*Token](1 << 16), deps: deps,
		macs: sync.Pool{New: func() any { return hmac.New(sha256.New, idKey) }},
	}
}

func (s *Tokens) hash(kind, id string) []byte {
	mac := s.macs.Get().(hash.Hash) //nolint:forcetypeassert // the pool holds nothing else
	defer s.macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(kind))
	mac.Write([]byte{0})
	mac.Write([]byte(id))
	return mac.Sum(nil)
}

// Find returns the token with an id if it may be used now.
func (s *Tokens) Find(tx *state.Tx, id string) (*Token, error) {
	if len(id) > maxIDBytes {
		return nil, ErrInvalid()
	}
	var t *Token
	var err error
	if strings.HasPrefix(id, batchPrefix) {
		t, err = s.openBatch(id)
	} else {
		t, err = s.load(tx, s.hash("token", id))
	}
	if err != nil {
		return nil, err
	}
	if t == nil || t.Gone || t.expired(tx.Now()) {
		return nil, ErrInvalid()
	}
	if _, err := s.ancestors(tx, t); err != nil {
		return nil, err
	}
	return t, nil
}

// ancestors walks up the tree and counts: a token is dead once any ancestor is,
// or the way to log in that made one of them, which is ErrInvalid.
func (s *Tokens) ancestors(tx *state.Tx, t *Token) (int, error) {
	parent, depth, link := t.Parent, 0, t
	for ; ; depth++ {
		switch gone, err := s.orphaned(tx, link); {
		case err != nil:
			return 0, err
		case gone:
			return 0, ErrInvalid()
		case len(parent) == 0:
			return depth, nil
		}
		if depth >= maxDepth {
			return 0, ErrInvalid()
		}
		p, err := s.load(tx, parent)
		switch {
		case err != nil:
			return 0, err
		case p == nil || p.expired(tx.Now()):
			return 0, ErrInvalid()
		case !p.Gone:
			parent, link = p.Parent, p
			continue
		case depth == 0 && t.Type == Batch:
			return 0, ErrInvalid() // is stored nowhere and cannot become an orphan
		}
		return depth, nil
	}
}

// load reads a service token by its row's key, whether it may be used or not.
func (s *Tokens) load(tx *state.Tx, key []byte) (*Token, error) {
	return s.cache.Get(tx, rowKey(key), func(row *state.Row) (*Token, error) {
		t := &Token{key: bytes.Clone(key), text: hex.EncodeToString(key)}
		if err := json.Unmarshal(row.Value, t); err != nil {
			return nil, engines.Internal(err)
		}
		return t, nil
	})
}

// FindByAccessor returns the token with an accessor, if it may be used now.
func (s *Tokens) FindByAccessor(tx *state.Tx, accessor string) (*Token, error) {
	if accessor == "" {
		return nil, engines.Invalidf("missing accessor")
	}
	row, err := tx.Get(s.accessorKey(accessor))
	if err != nil {
		return nil, err
	}
	if row == nil || len(row.Value) < sha256.Size {
		return nil, errAccessor()
	}
	t, err := s.load(tx, row.Value[:sha256.Size])
	if err != nil {
		return nil, err
	}
	if t == nil || t.Gone || t.expired(tx.Now()) {
		return nil, errAccessor()
	}
	switch _, err := s.ancestors(tx, t); {
	case engines.KindOf(err) == engines.KindUnauthorized:
		return nil, errAccessor()
	case err != nil:
		return nil, err
	}
	return t, nil
}

func errAccessor() error {
	return &engines.Error{Kind: engines.KindDenied, Message: "permission denied", Details: []string{"invalid accessor"}}
}

func (s *Tokens) accessorKey(accessor string) []byte {
	return state.Key(state.Accessors, state.RootNamespace, s.hash("accessor", accessor))
}

// Accessors lists the accessors of all service tokens, in no order.
func (s *Tokens) Accessors(tx *state.Tx) ([]string, error) {
	list := []string{}
	err := tx.Scan(state.Prefix(state.Accessors, state.RootNamespace), func(_ []byte, row *state.Row) error {
		if len(row.Value) > sha256.Size {
			list = append(list, string(row.Value[sha256.Size:]))
		}
		return nil
	})
	return list, err
}

// Use takes one use of a limited token that has more than one left, and returns
// the token as it is then.
func (s *Tokens) Use(tx *state.Tx, t *Token) (*Token, error) {
	used := *t
	used.NumUses--
	return &used, used.put(tx)
}

// Issue stores a new token under a fresh id, or seals it if it is a batch
// token, and returns the id.
func (s *Tokens) Issue(tx *state.Tx, t *Token) (id string, err error) {
	if t.Type == Batch {
		return s.sealBatch(t)
	}
	// No two ids that are made are the same: the commit sees to that, so that
	// nothing is looked for that is not there.
	id = servicePrefix + randomText(idChars)
	t.key = s.hash("token", id)
	tx.RequireAbsent(rowKey(t.key))
	return id, s.store(tx, t)
}

// IssueAs is Issue for a service token with a chosen id.
func (s *Tokens) IssueAs(tx *state.Tx, t *Token, id string) (string, error) {
	t.key = s.hash("token", id)
	taken, err := tx.Get(rowKey(t.key))
	if err != nil {
		return "", err
	}
	if taken != nil {
		return "", engines.Invalidf("cannot create a token with a duplicate ID")
	}
	return id, s.store(tx, t)
}

// store writes a new token, whose key is set, with an accessor.
func (s *Tokens) store(tx *state.Tx, t *Token) (err error) {
	t.Accessor = randomText(idChars)
	if s.deps.Count != nil && !t.Expiry.IsZero() && !slices.Contains(t.Policies, wrappingPolicy) {
		if t.Counted, err = s.deps.Count(tx, t.Path, t.quotaRole()); err != nil {
			return err
		}
	}
	if err := t.put(tx); err != nil {
		return err
	}
	value := append(bytes.Clone(t.key), t.Accessor...)
	return tx.Put(s.accessorKey(t.Accessor), value, state.PutOptions{})
}

func (s *Tokens) sealBatch(t *Token) (string, error) {
	plain, err := json.Marshal(t)
	if err != nil {
		return "", engines.Internal(err)
	}
	sealed, err := s.barrier.SealValue(batchPlace, plain)
	if err != nil {
		return "", engines.Internal(err)
	}
	id := batchPrefix + base64.RawURLEncoding.EncodeToString(sealed)
	if len(id) > maxIDBytes {
		return "", engines.Invalidf("the batch token would be longer than %d bytes: give it less metadata or fewer policies", maxIDBytes)
	}
	return id, nil
}

// openBatch returns nil for what is not a batch token of this store.
func (s *Tokens) openBatch(id string) (*Token, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(id, batchPrefix))
	if err != nil {
		return nil, nil //nolint:nilerr // to the caller, a malformed token is an unknown one
	}
	plain, err := s.barrier.OpenValue(batchPlace, sealed)
	if err != nil {
		return nil, nil //nolint:nilerr // as above
	}
	t := new(Token)
	if err := json.Unmarshal(plain, t); err != nil {
		return nil, engines.Internal(err)
	}
	return t, nil
}

// randomText returns n characters with 5.95 bits of entropy each.
func randomText(n int) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 0, n)
	var buf [48]byte
	for {
		_, _ = rand.Read(buf[:])
		for _, b := range buf {
			if b &= 63; int(b) < len(alphabet) { // drop what would bias
				if out = append(out, alphabet[b]); len(out) == n {
					return string(out)
				}
			}
		}
	}
}

// Renew gives a token new life from now and returns it with a warning if what
// was asked for was cut.
func (s *Tokens) Renew(tx *state.Tx, t *Token, increment, limit time.Duration) (*Token, string, error) {
	switch {
	case t.Type == Batch:
		return nil, "", engines.Invalidf("batch tokens cannot be renewed")
	case !t.Renewable:
		return nil, "", engines.Invalidf("lease is not renewable")
	}
	now := tx.Now()
	if t.MaxTTL > 0 {
		limit = t.MaxTTL
	}
	ttl, warning := boundTTL(t, increment, limit, now)
	renewed := *t
	renewed.LastRenewal = now
	renewed.Expiry = now.Add(ttl)
	if ttl <= 0 {
		return nil, "", engines.Invalidf("past the max TTL, cannot renew")
	}
	return &renewed, warning, renewed.put(tx)
}
