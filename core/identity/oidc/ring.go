package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/coffer-secrets/coffer/engines"
)

const rsaBits = 2048

// algorithms are those that a key can have (RFC 7518, RFC 8037).
func algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// pair is a key that signs. Private is PKCS #8.
type pair struct {
	ID      string `json:"id"`
	Private []byte `json:"private"`
}

// retired is a key that has signed, and when it is no longer published. Public
// is PKIX.
type retired struct {
	ID        string    `json:"id"`
	Algorithm string    `json:"algorithm"`
	Public    []byte    `json:"public"`
	Until     time.Time `json:"until"`
}

func newPair(algorithm string) (*pair, error) {
	var private any
	var err error
	switch algorithm {
	case "RS256", "RS384", "RS512":
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, engines.Invalidf("unknown signing algorithm")
	}
	if err != nil {
		return nil, engines.Internal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, engines.Internal(nil)
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	return &pair{ID: hex.EncodeToString(id[:]), Private: der}, nil
}

func (p *pair) signer() (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(p.Private)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, engines.Internal(nil)
	}
	return signer, nil
}

func (p *pair) retire(algorithm string, until time.Time) (retired, error) {
	signer, err := p.signer()
	if err != nil {
		return retired{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return retired{}, engines.Internal(err)
	}
	return retired{ID: p.ID, Algorithm: algorithm, Public: public, Until: until}, nil
}

// published are the key's public keys: the one that signs, the one that will,
// and those that have.
func (k *Key) published(now time.Time) ([]jose.JSONWebKey, error) {
	var out []jose.JSONWebKey
	for _, p := range []*pair{k.Current, k.Next} {
		if p == nil {
			continue
		}
		signer, err := p.signer()
		if err != nil {
			return nil, err
		}
		out = append(out, jose.JSONWebKey{Key: signer.Public(), KeyID: p.ID, Algorithm: k.Algorithm, Use: "sig"})
	}
	for _, r := range k.Retired {
		if !now.Before(r.Until) {
			continue
		}
		public, err := x509.ParsePKIXPublicKey(r.Public)
		if err != nil {
			return nil, engines.Internal(err)
		}
		out = append(out, jose.JSONWebKey{Key: public, KeyID: r.ID, Algorithm: r.Algorithm, Use: "sig"})
	}
	return out, nil
}

// sign makes a token of claims.
func (k *Key) sign(claims map[string]any) (string, error) {
	if k.Current == nil {
		return "", engines.Internal(nil)
	}
	private, err := k.Current.signer()
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: jose.JSONWebKey{Key: private, KeyID: k.Current.ID},
	}, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return "", engines.Internal(nil)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", engines.Internal(nil)
	}
	return token, nil
}

// halfHash is at_hash and c_hash: half of the hash that the signature is over
// (OpenID Connect Core, section 3.3.2.11).
func (k *Key) halfHash(text string) string {
	var sum []byte
	switch k.Algorithm {
	case "RS384", "ES384":
		full := sha512.Sum384([]byte(text))
		sum = full[:]
	case "RS512", "ES512", "EdDSA":
		full := sha512.Sum512([]byte(text))
		sum = full[:]
	default:
		full := sha256.Sum256([]byte(text))
		sum = full[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// verify returns the claims of a token that one of keys has signed.
func verify(token string, keys []jose.JSONWebKey, into *jwt.Claims) bool {
	var known []jose.SignatureAlgorithm
	for _, name := range algorithms() {
		known = append(known, jose.SignatureAlgorithm(name))
	}
	parsed, err := jwt.ParseSigned(token, known)
	if err != nil || len(parsed.Headers) != 1 {
		return false
	}
	head := parsed.Headers[0]
	i := slices.IndexFunc(keys, func(k jose.JSONWebKey) bool { return k.KeyID == head.KeyID && k.Algorithm == head.Algorithm })
	return i >= 0 && parsed.Claims(keys[i].Key, into) == nil
}
