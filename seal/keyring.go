package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"slices"
	"time"
)

// Sizes of keys, in bytes.
const (
	RootKeySize    = 32 // AES-256
	valueKeySize   = 32 // AES-256
	nameKeySize    = 64 // AES-SIV with two AES-256 keys (RFC 5297, section 2.2)
	deriveRootSize = 32
)

// Limits of a keyring.
const (
	// MaxEncryptions is how many values one term may seal under random 96-bit
	// nonces (NIST SP 800-38D, section 8.3). A Barrier refuses more.
	MaxEncryptions = 1 << 32

	// RotateAt is the number of encryptions, nine tenths of MaxEncryptions, at
	// which a keyring should be rotated.
	RotateAt = MaxEncryptions / 10 * 9

	// MaxTerms is how many terms a keyring can hold: forty years of daily
	// rotation, and a sealed keyring under one megabyte.
	MaxTerms = 1 << 14

	// maxDerived is the length of the longest derived key.
	maxDerived = 1024
)

const deriveLabel = "coffer/v1/derive/"

// A Term describes one key of the barrier. It holds no key.
type Term struct {
	Number      uint32    // from 1, without gaps
	InstallTime time.Time // in UTC, of nanosecond precision
	Encryptions uint64    // as many at most, until the keyring is sealed anew
}

type termKey struct {
	Term
	key [valueKeySize]byte
}

// A Keyring holds the keys that seal values and names, and the root from which
// others are derived. It is immutable and safe for concurrent use; only Zero
// changes it.
type Keyring struct {
	terms      []termKey // terms[i].Number == i+1; never empty
	nameKey    [nameKeySize]byte
	deriveRoot [deriveRootSize]byte
}

// NewRootKey returns RootKeySize random bytes from rand.
func NewRootKey(rand io.Reader) ([]byte, error) {
	key := make([]byte, RootKeySize)
	if _, err := io.ReadFull(rand, key); err != nil {
		return nil, fmt.Errorf("seal: make a root key: %w", err)
	}
	return key, nil
}

// NewKeyring returns a keyring with new keys from rand and one term, installed
// now.
func NewKeyring(rand io.Reader, now time.Time) (*Keyring, error) {
	k := &Keyring{}
	if _, err := io.ReadFull(rand, k.nameKey[:]); err != nil {
		return nil, fmt.Errorf("seal: make a keyring: %w", err)
	}
	if _, err := io.ReadFull(rand, k.deriveRoot[:]); err != nil {
		return nil, fmt.Errorf("seal: make a keyring: %w", err)
	}
	return k.Rotate(rand, now)
}

// Rotate returns a keyring with one more term, which is the active one. Values
// sealed under earlier terms stay readable.
func (k *Keyring) Rotate(rand io.Reader, now time.Time) (*Keyring, error) {
	if len(k.terms) >= MaxTerms {
		return nil, fmt.Errorf("seal: rotate: keyring has %d terms, the most it can hold", MaxTerms)
	}
	next := k.clone()
	t := termKey{Term: Term{
		Number:      uint32(len(k.terms)) + 1,
		InstallTime: time.Unix(0, now.UnixNano()).UTC(),
	}}
	if _, err := io.ReadFull(rand, t.key[:]); err != nil {
		return nil, fmt.Errorf("seal: rotate: %w", err)
	}
	next.terms = append(next.terms, t)
	return next, nil
}

// WithEncryptions returns a keyring that records n encryptions for a term, or k
// itself if it has no such term or already records as many.
func (k *Keyring) WithEncryptions(term uint32, n uint64) *Keyring {
	t := k.term(term)
	if t == nil || t.Encryptions >= n {
		return k
	}
	next := k.clone()
	next.term(term).Encryptions = n
	return next
}

// Active returns the term that seals new values.
func (k *Keyring) Active() Term { return k.terms[len(k.terms)-1].Term }

// Terms returns all terms, oldest first.
func (k *Keyring) Terms() []Term {
	terms := make([]Term, len(k.terms))
	for i := range k.terms {
		terms[i] = k.terms[i].Term
	}
	return terms
}

// Derive returns the n-byte key for a purpose named by label: HKDF-SHA256 (RFC
// 5869) over a root that is never rotated. Distinct labels give independent
// keys. Label and n are part of the program, not of its input: Derive panics if
// the label is empty or n is not between 16 and 1024.
func (k *Keyring) Derive(label string, n int) []byte {
	if label == "" || n < 16 || n > maxDerived {
		panic("seal: derive: no label, or a length out of range")
	}
	key, err := hkdf.Key(sha256.New, k.deriveRoot[:], nil, deriveLabel+label, n)
	if err != nil {
		panic(fmt.Errorf("seal: derive: %w", err))
	}
	return key
}

// Zero overwrites the keys. The keyring must not be used afterwards, and no one
// else may be using it.
func (k *Keyring) Zero() {
	for i := range k.terms {
		clear(k.terms[i].key[:])
	}
	clear(k.nameKey[:])
	clear(k.deriveRoot[:])
}

// Format keeps keys out of logs, whatever the verb, for pointer and value.
func (k Keyring) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "keyring of %d terms", len(k.terms))
}

func (k *Keyring) clone() *Keyring {
	next := *k
	next.terms = slices.Clone(k.terms)
	return &next
}

// term returns the term of a number, nil if there is none.
func (k *Keyring) term(number uint32) *termKey {
	if number == 0 || uint64(number) > uint64(len(k.terms)) {
		return nil
	}
	return &k.terms[number-1]
}

// continues reports whether k has every key of older, in the same place.
func (k *Keyring) continues(older *Keyring) bool {
	if len(k.terms) < len(older.terms) {
		return false
	}
	same := subtle.ConstantTimeCompare(k.nameKey[:], older.nameKey[:]) &
		subtle.ConstantTimeCompare(k.deriveRoot[:], older.deriveRoot[:])
	for i := range older.terms {
		same &= subtle.ConstantTimeCompare(k.terms[i].key[:], older.terms[i].key[:])
	}
	return same == 1
}
