package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/daead/subtle"

	"github.com/coffer-secrets/coffer/seal/internal/namecache"
)

const (
	valueVersion    = 1
	valueHeaderSize = 1 + 4
	gcmOverhead     = 12 + 16 // nonce and tag

	// ValueOverhead is by how many bytes a sealed value is longer than its
	// plaintext.
	ValueOverhead = valueHeaderSize + gcmOverhead

	nameCacheBytes = 16 << 20
)

// A Barrier seals and opens values and names. It is safe for concurrent use.
type Barrier struct {
	mu     sync.RWMutex
	closed bool

	keyring *Keyring // its own copy
	aeads   []cipher.AEAD
	names   *subtle.AESSIV
	nameKey []byte // what names reads its keys from

	cache       *namecache.Cache // of names to what they are sealed as
	opened      *namecache.Cache // of sealed components to what they say
	encryptions atomic.Uint64    // under the active term
}

// NewBarrier returns a barrier over a copy of k. Close it.
func NewBarrier(k *Keyring) (*Barrier, error) {
	b := &Barrier{keyring: k.clone(), cache: namecache.New(nameCacheBytes), opened: namecache.New(nameCacheBytes)}
	var err error
	if b.aeads, err = newAEADs(b.keyring, nil); err != nil {
		return nil, err
	}
	b.nameKey = append([]byte(nil), b.keyring.nameKey[:]...)
	if b.names, err = subtle.NewAESSIV(b.nameKey); err != nil {
		return nil, fmt.Errorf("seal: name key: %w", err)
	}
	b.encryptions.Store(b.keyring.Active().Encryptions)
	return b, nil
}

// newAEADs returns the ciphers of all terms of k, of which have are the first.
func newAEADs(k *Keyring, have []cipher.AEAD) ([]cipher.AEAD, error) {
	aeads := make([]cipher.AEAD, len(have), len(k.terms))
	copy(aeads, have)
	for i := len(have); i < len(k.terms); i++ {
		aead, err := newGCM(k.terms[i].key[:])
		if err != nil {
			return nil, fmt.Errorf("seal: key term %d: %w", i+1, err)
		}
		aeads = append(aeads, aead)
	}
	return aeads, nil
}

// Install replaces the keyring by a copy of k, which must have every key of the
// present one: a rotated keyring, or the same. Operations under way finish with
// the keys they began with. What k has recorded as sealed under its active term,
// and the present one has not, others have sealed or may: it counts as sealed.
func (b *Barrier) Install(k *Keyring) error { return b.install(k, false) }

// InstallOwn is Install of a keyring that records what this barrier is to seal:
// that is counted as it is used.
func (b *Barrier) InstallOwn(k *Keyring) error { return b.install(k, true) }

func (b *Barrier) install(k *Keyring, own bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrSealed
	}
	if !k.continues(b.keyring) {
		return ErrKeyringMismatch
	}
	aeads, err := newAEADs(k, b.aeads)
	if err != nil {
		return err
	}
	rotated := len(k.terms) > len(b.keyring.terms)
	recorded := b.keyring.Active().Encryptions
	b.keyring.Zero()
	b.keyring, b.aeads = k.clone(), aeads
	stored := k.Active().Encryptions
	switch {
	case rotated && own:
		b.encryptions.Store(0)
	case rotated || !own && stored > max(recorded, b.encryptions.Load()):
		b.encryptions.Store(stored)
	}
	return nil
}

// Recorded returns what the installed keyring records for its active term.
func (b *Barrier) Recorded() uint64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return 0
	}
	return b.keyring.Active().Encryptions
}

// Keyring returns a copy of the keyring in use, with the encryptions counted so
// far.
func (b *Barrier) Keyring() (*Keyring, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, ErrSealed
	}
	k := b.keyring.clone()
	k.terms[len(k.terms)-1].Encryptions = b.encryptions.Load()
	return k, nil
}

// Encryptions returns how many values were sealed under the active term: what
// the keyring recorded when it came, and all since. At RotateAt the keyring should
// be rotated.
func (b *Barrier) Encryptions() uint64 { return b.encryptions.Load() }

// SealValue seals plaintext for a place (the sealed name, or whatever else
// identifies the row) under the active term. The result is ValueOverhead bytes
// longer.
func (b *Barrier) SealValue(place, plaintext []byte) ([]byte, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, ErrSealed
	}
	if b.encryptions.Add(1) > MaxEncryptions {
		return nil, ErrKeyExhausted
	}
	out := make([]byte, valueHeaderSize, ValueOverhead+len(plaintext))
	out[0] = valueVersion
	binary.BigEndian.PutUint32(out[1:], uint32(len(b.aeads)))
	return b.aeads[len(b.aeads)-1].Seal(out, nil, plaintext, place), nil
}

// OpenValue opens what SealValue sealed for the same place, under any term of
// the keyring. The error is ErrMalformed, ErrUnknownTerm or ErrCorrupt.
func (b *Barrier) OpenValue(place, sealed []byte) ([]byte, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, ErrSealed
	}
	if len(sealed) < ValueOverhead || sealed[0] != valueVersion {
		return nil, fmt.Errorf("%w: value", ErrMalformed)
	}
	term := binary.BigEndian.Uint32(sealed[1:])
	if term == 0 || uint64(term) > uint64(len(b.aeads)) {
		return nil, fmt.Errorf("%w: %d", ErrUnknownTerm, term)
	}
	plaintext, err := b.aeads[term-1].Open(nil, nil, sealed[valueHeaderSize:], place)
	if err != nil {
		return nil, ErrCorrupt
	}
	return plaintext, nil
}

// Close zeroes the keys and forgets all names. It waits for operations under
// way; later ones fail with ErrSealed. Expanded AES key schedules cannot be
// reached to be zeroed and are left to the garbage collector.
func (b *Barrier) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	b.keyring.Zero()
	clear(b.nameKey)
	b.aeads, b.names = nil, nil
	b.cache.Clear()
	b.opened.Clear()
}
