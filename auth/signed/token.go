package signed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/coffer-secrets/coffer/engines/schema"
)

// maxToken bounds a token in bytes.
const maxToken = 64 << 10

// algorithms are those that anybody may use.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
}

// Refusals of a token. They say nothing of its content.
var (
	ErrMalformed = errors.New("it is not a JSON Web Token, or not signed with an algorithm that is allowed")
	ErrSignature = errors.New("it is not signed with a key that is trusted")
)

// CheckAlgorithms refuses names of algorithms that are not offered.
func CheckAlgorithms(names []string) error {
	for _, name := range names {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(name)) {
			return fmt.Errorf("expected some of %v", algorithms)
		}
	}
	return nil
}

// Token is one that was parsed, whose signature nobody has looked at yet.
type Token struct{ jws *jose.JSONWebSignature }

// Parse reads a token that is signed with one of the algorithms; any that is
// offered if none is named.
func Parse(text string, names ...string) (*Token, error) {
	allowed := algorithms
	if len(names) > 0 {
		allowed = nil
		for _, name := range names {
			if alg := jose.SignatureAlgorithm(name); slices.Contains(algorithms, alg) {
				allowed = append(allowed, alg)
			}
		}
	}
	if len(text) > maxToken || len(allowed) == 0 || !isCompact(text) {
		return nil, ErrMalformed
	}
	jws, err := jose.ParseSignedCompact(text, allowed)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrMalformed
	}
	return &Token{jws: jws}, nil
}

// isCompact refuses what the library would overlook, such as line ends: who
// passes the token on would send them along.
func isCompact(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(b byte) bool {
		return (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '-' && b != '_' && b != '.'
	})
}

// KeyID is the id of the key that the token says it is signed with.
func (t *Token) KeyID() string { return t.jws.Signatures[0].Header.KeyID }

// Verify returns the claims if one of the keys has signed them. A token that
// names a key is only tried with keys of that name and with those that have
// none.
func (t *Token) Verify(keys []Key) (Claims, error) {
	id, alg := t.KeyID(), t.jws.Signatures[0].Header.Algorithm
	for _, k := range keys {
		if id != "" && k.ID != "" && id != k.ID || k.Algorithm != "" && k.Algorithm != alg {
			continue
		}
		if payload, err := t.jws.Verify(k.Public); err == nil {
			return ParseClaims(payload)
		}
	}
	return nil, ErrSignature
}

// Unverified returns the claims although nobody has verified them: for those
// who then ask the issuer about the token, and compare.
func (t *Token) Unverified() (Claims, error) {
	return ParseClaims(t.jws.UnsafePayloadWithoutVerification())
}

// ParseClaims reads claims, a JSON object.
func ParseClaims(payload []byte) (Claims, error) {
	members, err := schema.ParseBody(payload, schema.Limits{})
	if err != nil || members == nil {
		return nil, ErrMalformed
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	var claims Claims
	if err := decoder.Decode(&claims); err != nil {
		return nil, ErrMalformed
	}
	return claims, nil
}
