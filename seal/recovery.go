package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
)

// With auto-unseal there are no unseal keys. Operators get the shares of a
// recovery key instead, which opens nothing but authorises what the shares of
// the root key otherwise would. The server keeps only a verifier of it.

const (
	recoveryVersion = 1
	recoveryLabel   = "coffer/v1/recovery-key"
	verifierSize    = 1 + sha256.Size
)

// NewRecoveryKey returns a random key of RootKeySize bytes, to be split by
// NewGeneration and then zeroed, and its verifier.
func NewRecoveryKey(rand io.Reader) (key, verifier []byte, err error) {
	key, err = NewRootKey(rand)
	if err != nil {
		return nil, nil, err
	}
	return key, RecoveryVerifier(key), nil
}

// VerifyRecoveryKey returns nil if key is the one that verifier was made of,
// else ErrWrongKey, or ErrMalformed for what is not a verifier. A verifier can
// be stored in the clear: the key has 256 random bits.
func VerifyRecoveryKey(verifier, key []byte) error {
	if len(verifier) != verifierSize || verifier[0] != recoveryVersion {
		return fmt.Errorf("%w: recovery key verifier", ErrMalformed)
	}
	if len(key) != RootKeySize || subtle.ConstantTimeCompare(verifier, RecoveryVerifier(key)) != 1 {
		return ErrWrongKey
	}
	return nil
}

// RecoveryVerifier returns what VerifyRecoveryKey checks a key against.
func RecoveryVerifier(key []byte) []byte {
	digest, err := hkdf.Key(sha256.New, key, nil, recoveryLabel, sha256.Size)
	if err != nil {
		panic(fmt.Errorf("seal: recovery key verifier: %w", err)) // impossible for this length
	}
	return append([]byte{recoveryVersion}, digest...)
}
