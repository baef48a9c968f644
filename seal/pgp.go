package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// maxPGPKey bounds one public key as it is given, in bytes.
const maxPGPKey = 256 << 10

// EncryptShares encrypts the hexadecimal form of each share to the PGP key of
// the same index. A key is a public key in base64 or in ASCII armour. It returns
// the fingerprint of each key, in lower-case hexadecimal, and the encrypted
// shares as binary OpenPGP messages (RFC 9580).
//
// The error is ErrInvalidPGPKey if a key is malformed, revoked, expired, private,
// or has no subkey for encryption.
func EncryptShares(shares [][]byte, keys []string) (fingerprints []string, encrypted [][]byte, err error) {
	if len(shares) != len(keys) {
		return nil, nil, fmt.Errorf("%w: there must be one key for each of %d shares", ErrInvalidPGPKey, len(shares))
	}
	for i, share := range shares {
		text := make([]byte, hex.EncodedLen(len(share)))
		hex.Encode(text, share)
		fingerprint, message, err := EncryptPGP(text, keys[i])
		clear(text)
		if err != nil {
			return nil, nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		fingerprints = append(fingerprints, fingerprint)
		encrypted = append(encrypted, message)
	}
	return fingerprints, encrypted, nil
}

// EncryptPGP encrypts plaintext as it is to one key; see EncryptShares.
func EncryptPGP(plaintext []byte, key string) (fingerprint string, encrypted []byte, err error) {
	entity, err := parsePGPKey(key)
	if err != nil {
		return "", nil, err
	}
	var out bytes.Buffer
	w, err := openpgp.Encrypt(&out, []*openpgp.Entity{entity}, nil, &openpgp.FileHints{IsBinary: true}, nil)
	if err != nil {
		return "", nil, fmt.Errorf("%w: cannot be encrypted to", ErrInvalidPGPKey)
	}
	if _, err := w.Write(plaintext); err != nil {
		return "", nil, fmt.Errorf("seal: encrypt to a PGP key: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", nil, fmt.Errorf("seal: encrypt to a PGP key: %w", err)
	}
	return hex.EncodeToString(entity.PrimaryKey.Fingerprint), out.Bytes(), nil
}

// PGPFingerprint returns the fingerprint of a public key in lower-case
// hexadecimal, if it can be encrypted to; see EncryptShares.
func PGPFingerprint(key string) (string, error) {
	entity, err := parsePGPKey(key)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(entity.PrimaryKey.Fingerprint), nil
}

func parsePGPKey(key string) (*openpgp.Entity, error) {
	if len(key) > maxPGPKey {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalidPGPKey, maxPGPKey)
	}
	entities, err := readPGPKeyRing(strings.TrimSpace(key))
	if err != nil {
		return nil, err
	}
	if len(entities) != 1 {
		return nil, fmt.Errorf("%w: must hold exactly one public key", ErrInvalidPGPKey)
	}
	entity, now := entities[0], time.Now()
	if entity.PrivateKey != nil {
		return nil, fmt.Errorf("%w: is a private key; export the public key", ErrInvalidPGPKey)
	}
	if entity.Revoked(now) {
		return nil, fmt.Errorf("%w: revoked", ErrInvalidPGPKey)
	}
	if signature, _ := entity.PrimarySelfSignature(); signature != nil && entity.PrimaryKey.KeyExpired(signature, now) {
		return nil, fmt.Errorf("%w: expired", ErrInvalidPGPKey)
	}
	if _, ok := entity.EncryptionKey(now); !ok {
		return nil, fmt.Errorf("%w: has no valid key for encryption", ErrInvalidPGPKey)
	}
	return entity, nil
}

func readPGPKeyRing(key string) (openpgp.EntityList, error) {
	if strings.HasPrefix(key, "-----BEGIN ") {
		entities, err := openpgp.ReadArmoredKeyRing(strings.NewReader(key))
		if err != nil {
			return nil, fmt.Errorf("%w: not an ASCII-armoured public key", ErrInvalidPGPKey)
		}
		return entities, nil
	}
	binary, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil, fmt.Errorf("%w: neither base64 nor ASCII armour", ErrInvalidPGPKey)
	}
	entities, err := openpgp.ReadKeyRing(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("%w: not a binary public key", ErrInvalidPGPKey)
	}
	return entities, nil
}
