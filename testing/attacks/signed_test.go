package attacks_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// signing makes what signs a token, for an algorithm's name.
type signing func(input []byte) []byte

func rs256(t testing.TB, key *rsa.PrivateKey) signing {
	return func(input []byte) []byte {
		sum := sha256.Sum256(input)
		out, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func es256(t testing.TB, key *ecdsa.PrivateKey) signing {
	return func(input []byte) []byte {
		sum := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out
	}
}

func hs256(key string) signing {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(input)
		return mac.Sum(nil)
	}
}

func unsigned([]byte) []byte { return nil }

// signed is a token of a header, claims and a signature.
func signed(t testing.TB, header, claims body, sign signing) string {
	t.Helper()
	part := func(b body) string {
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	input := part(header) + "." + part(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(input)))
}

func publicPEM(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// with is a map with other values; nil takes one out.
func with(b, change body) body {
	out := maps.Clone(b)
	maps.Copy(out, change)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

// TestAttack48Tokens: a token is good for its key, with that key's algorithm,
// for those whom it is for.
func TestAttack48Tokens(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := serving(t)
	n.Put("sys/auth/jwt", body{"type": "jwt"})
	public := publicPEM(t, key.Public())
	n.Put("auth/jwt/config", body{"jwt_validation_pubkeys": public, "bound_issuer": "https://issuer"})
	n.Put("auth/jwt/role/app", body{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "coffer", "bound_claims": body{"team": "red"}})
	now := time.Now()
	claims := body{"iss": "https://issuer", "aud": "coffer", "sub": "alice", "team": "red", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	header := body{"alg": "RS256", "typ": "JWT"}
	good := rs256(t, key)
	login := func(token string) *kit.Response {
		return n.post(kit.NoToken, "auth/jwt/login", body{"role": "app", "jwt": token})
	}
	whole := signed(t, header, claims, good)
	if r := login(whole); r.Status != http.StatusOK {
		t.Fatalf("a good token: %d %s", r.Status, r.Raw)
	}
	if r := login(signed(t, header, with(claims, body{"aud": []string{"x", "coffer"}}), good)); r.Status != http.StatusOK {
		t.Fatalf("one for several: %d %s", r.Status, r.Raw)
	}
	parts := strings.Split(whole, ".")
	jwk := body{"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(other.X.FillBytes(make([]byte, 32))), "y": base64.RawURLEncoding.EncodeToString(other.Y.FillBytes(make([]byte, 32)))}
	for what, token := range map[string]string{
		"no algorithm":                signed(t, body{"alg": "none"}, claims, unsigned),
		"no algorithm, spelled oddly": signed(t, body{"alg": "nOnE"}, claims, unsigned),
		"none with a signature":       signed(t, body{"alg": "none"}, claims, good),
		"no header":                   signed(t, body{}, claims, good),
		"no signature":                parts[0] + "." + parts[1] + ".",
		"another's claims":            parts[0] + "." + strings.Split(signed(t, header, with(claims, body{"sub": "root"}), unsigned), ".")[1] + "." + parts[2],
		"HMAC by the public key":      signed(t, body{"alg": "HS256"}, claims, hs256(public)),
		"HMAC by the bare key":        signed(t, body{"alg": "HS256"}, claims, hs256(strings.TrimSpace(public))),
		"HMAC by nothing":             signed(t, body{"alg": "HS256"}, claims, hs256("")),
		"another key":                 signed(t, body{"alg": "ES256"}, claims, es256(t, other)),
		"another key's algorithm":     signed(t, body{"alg": "ES256"}, claims, good),
		"a key in the header":         signed(t, body{"alg": "ES256", "jwk": jwk}, claims, es256(t, other)),
		"a key's address":             signed(t, body{"alg": "ES256", "jku": "https://evil/keys"}, claims, es256(t, other)),
		"a certificate's address":     signed(t, body{"alg": "RS256", "x5u": "https://evil/cert"}, claims, es256(t, other)),
		"a key id that is a path":     signed(t, body{"alg": "HS256", "kid": "../../../../dev/null"}, claims, hs256("")),
		"a key id that is SQL":        signed(t, body{"alg": "ES256", "kid": "' OR 1=1"}, claims, es256(t, other)),
		"what nobody understands":     signed(t, with(header, body{"crit": []string{"b64"}, "b64": false}), claims, good),
		"another audience":            signed(t, header, with(claims, body{"aud": "other"}), good),
		"an audience with more":       signed(t, header, with(claims, body{"aud": "coffer,other"}), good),
		"an audience that is none":    signed(t, header, with(claims, body{"aud": body{"coffer": true}}), good),
		"no audience":                 signed(t, header, with(claims, body{"aud": nil}), good),
		"an empty audience":           signed(t, header, with(claims, body{"aud": []string{}}), good),
		"another issuer":              signed(t, header, with(claims, body{"iss": "https://issuer/"}), good),
		"no issuer":                   signed(t, header, with(claims, body{"iss": nil}), good),
		"over":                        signed(t, header, with(claims, body{"exp": now.Add(-time.Hour).Unix()}), good),
		"never over":                  signed(t, header, with(claims, body{"exp": nil, "iat": nil}), good),
		"of the future":               signed(t, header, with(claims, body{"nbf": now.Add(time.Hour).Unix()}), good),
		"another team":                signed(t, header, with(claims, body{"team": "blue"}), good),
		"a team of lists":             signed(t, header, with(claims, body{"team": body{"red": "red"}}), good),
		"nobody":                      signed(t, header, with(claims, body{"sub": ""}), good),
		"a list of people":            signed(t, header, with(claims, body{"sub": []string{"alice"}}), good),
		"two tokens":                  whole + "." + whole,
		"JSON":                        `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"white space":                 parts[0] + ". " + parts[1] + "." + parts[2],
		"five parts":                  whole + "..",
		"nothing":                     "",
	} {
		n.untouched(what, func() {
			if r := login(token); r.Status != http.StatusBadRequest || r.At("auth") != nil || len(r.Errors()) == 0 {
				t.Errorf("%s: %d %s", what, r.Status, r.Raw)
			}
		})
	}
}

// TestAttack48StaleKeys: a key that its issuer has taken back is good no longer
// once the set was asked for again, and tokens of unknown keys do not make the
// node ask for every one of them.
func TestAttack48StaleKeys(t *testing.T) {
	t.Parallel()
	keys := make([]*ecdsa.PrivateKey, 2)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	var shown atomic.Pointer[ecdsa.PrivateKey]
	var asked atomic.Int64
	shown.Store(keys[0])
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		key, id := shown.Load(), "old"
		if key == keys[1] {
			id = "new"
		}
		_ = json.NewEncoder(w).Encode(body{"keys": []body{{
			"kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "use": "sig",
			"x": base64.RawURLEncoding.EncodeToString(key.X.FillBytes(make([]byte, 32))), "y": base64.RawURLEncoding.EncodeToString(key.Y.FillBytes(make([]byte, 32))),
		}}})
	}))
	t.Cleanup(issuer.Close)
	clock := kit.NewClock()
	n := serving(t, kit.At(clock))
	n.Put("sys/auth/jwt", body{"type": "jwt"})
	n.Put("auth/jwt/config", body{"jwks_url": issuer.URL})
	n.Put("auth/jwt/role/app", body{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "coffer"})
	now := time.Now()
	claims := body{"aud": "coffer", "sub": "alice", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	login := func(id string, key *ecdsa.PrivateKey) int {
		token := signed(t, body{"alg": "ES256", "kid": id}, claims, es256(t, key))
		return n.post(kit.NoToken, "auth/jwt/login", body{"role": "app", "jwt": token}).Status
	}
	if status := login("old", keys[0]); status != http.StatusOK {
		t.Fatalf("a good token is answered %d", status)
	}
	shown.Store(keys[1])
	before := asked.Load()
	got := together(50, func(int) int { return login("unknown", keys[0]) })
	only(t, "tokens of unknown keys", got, 400)
	if n := asked.Load() - before; n > 5 {
		t.Errorf("the issuer was asked %d times for 50 tokens", n)
	}
	clock.Advance(10 * time.Second) // there is a pause after asking in vain
	if status := login("new", keys[1]); status != http.StatusOK {
		t.Errorf("the new key is answered %d", status)
	}
	if status := login("old", keys[0]); status != http.StatusBadRequest {
		t.Errorf("the key that was taken back is answered %d", status)
	}
}
