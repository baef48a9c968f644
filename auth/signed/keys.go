package signed

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of what keys are read from.
const (
	maxKeys     = 128
	maxPEMBytes = 64 << 10
	minRSABits  = 2048
)

// Key is a public key that may have signed.
type Key struct {
	// ID is its "kid"; empty if it has none.
	ID string
	// Algorithm is the only one that it is for; any that fits if empty.
	Algorithm string
	Public    crypto.PublicKey
}

// usable refuses keys that nobody should sign with, shared ones above all.
func usable(key any) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return fmt.Errorf("an RSA key needs %d bits", minRSABits)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return errors.New("expected a public key of RSA, ECDSA or Ed25519")
	}
	return nil
}

// ParsePEM reads one public key, or the key of a certificate, from PEM.
func ParsePEM(text string) (Key, error) {
	if len(text) > maxPEMBytes {
		return Key{}, fmt.Errorf("at most %d bytes", maxPEMBytes)
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return Key{}, errors.New("expected one public key in PEM")
	}
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	default:
		return Key{}, errors.New("expected a public key or a certificate")
	}
	if err != nil {
		return Key{}, errors.New("the key in the PEM cannot be read")
	}
	return Key{Public: public}, usable(public)
}

// Set is a JSON Web Key Set (RFC 7517, section 5). What it has beside public
// keys for signatures is left out, as section 5 asks.
type Set []Key

// UnmarshalJSON implements json.Unmarshaler.
func (s *Set) UnmarshalJSON(text []byte) error {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	if len(raw.Keys) > maxKeys {
		return fmt.Errorf("signed: more than %d keys in a set", maxKeys)
	}
	*s = nil
	for _, one := range raw.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(one) != nil || !k.IsPublic() || k.Use != "" && k.Use != "sig" || usable(k.Key) != nil {
			continue
		}
		*s = append(*s, Key{ID: k.KeyID, Algorithm: k.Algorithm, Public: k.Key})
	}
	if len(*s) == 0 {
		return errors.New("signed: a set without a public key for signatures")
	}
	return nil
}

// Has reports whether a key with the id is there.
func (s Set) Has(id string) bool {
	for _, k := range s {
		if k.ID == id {
			return true
		}
	}
	return false
}
