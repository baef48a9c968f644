package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	keyringVersion = 1
	keyringLabel   = "coffer/v1/keyring" // additional data of a sealed keyring

	termSize          = 4 + valueKeySize + 8 + 8
	keyringHeaderSize = 1 + nameKeySize + deriveRootSize + 4
)

// Seal returns the keyring sealed under the root key of RootKeySize bytes:
// a version byte, then AES-256-GCM with a random nonce.
func (k *Keyring) Seal(rootKey []byte) ([]byte, error) {
	aead, err := newGCM(rootKey)
	if err != nil {
		return nil, err
	}
	plain := k.marshal()
	defer clear(plain)
	out := make([]byte, 1, 1+len(plain)+aead.Overhead())
	out[0] = keyringVersion
	return aead.Seal(out, nil, plain, []byte(keyringLabel)), nil
}

// OpenKeyring returns the keyring that Seal sealed. The error is ErrMalformed if
// sealed is not the form of a sealed keyring, and ErrWrongKey if the root key
// does not open it (or it was changed, which cannot be told apart).
func OpenKeyring(rootKey, sealed []byte) (*Keyring, error) {
	aead, err := newGCM(rootKey)
	if err != nil {
		return nil, err
	}
	if len(sealed) < 1+aead.Overhead() || sealed[0] != keyringVersion {
		return nil, fmt.Errorf("%w: keyring", ErrMalformed)
	}
	plain, err := aead.Open(nil, nil, sealed[1:], []byte(keyringLabel))
	if err != nil {
		return nil, ErrWrongKey
	}
	defer clear(plain)
	return unmarshalKeyring(plain)
}

// newGCM returns AES-256-GCM that makes a random nonce itself and puts it in
// front of the ciphertext. A key of another length is a wrong key.
func newGCM(key []byte) (cipher.AEAD, error) {
	if len(key) != RootKeySize {
		return nil, fmt.Errorf("%w: not %d bytes long", ErrWrongKey, RootKeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return aead, nil
}

// marshal returns the plaintext form of a keyring: version, subkeys, number of
// terms, terms. Its capacity is right from the start, so that growing leaves no
// copy behind; the caller zeroes it.
func (k *Keyring) marshal() []byte {
	b := make([]byte, 0, keyringHeaderSize+len(k.terms)*termSize)
	b = append(b, keyringVersion)
	b = append(b, k.nameKey[:]...)
	b = append(b, k.deriveRoot[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(k.terms)))
	for i := range k.terms {
		t := &k.terms[i]
		b = binary.BigEndian.AppendUint32(b, t.Number)
		b = append(b, t.key[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(t.InstallTime.UnixNano()))
		b = binary.BigEndian.AppendUint64(b, t.Encryptions)
	}
	return b
}

func unmarshalKeyring(b []byte) (*Keyring, error) {
	if len(b) < keyringHeaderSize || b[0] != keyringVersion {
		return nil, fmt.Errorf("%w: keyring header", ErrMalformed)
	}
	k := &Keyring{}
	b = b[1:]
	b = b[copy(k.nameKey[:], b):]
	b = b[copy(k.deriveRoot[:], b):]
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	if n == 0 || n > MaxTerms || len(b) != int(n)*termSize {
		return nil, fmt.Errorf("%w: keyring terms", ErrMalformed)
	}
	k.terms = make([]termKey, n)
	for i := range k.terms {
		t := &k.terms[i]
		t.Number = binary.BigEndian.Uint32(b)
		if t.Number != uint32(i)+1 {
			return nil, fmt.Errorf("%w: keyring terms out of order", ErrMalformed)
		}
		b = b[4:]
		b = b[copy(t.key[:], b):]
		t.InstallTime = time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
		t.Encryptions = binary.BigEndian.Uint64(b[8:])
		b = b[16:]
	}
	return k, nil
}
