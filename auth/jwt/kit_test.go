package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coffer-secrets/coffer/auth/jwt"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

type body = map[string]any

// pair is a key that signs, of which the world knows the id.
type pair struct {
	id   string
	priv crypto.Signer
	alg  jose.SignatureAlgorithm
}

// rsaKey is made once: it takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newPair(t *testing.T, id string) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{id: id, priv: key, alg: jose.ES256}
}

func (p *pair) pem(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(p.priv.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// sign makes a token of claims.
func (p *pair) sign(t *testing.T, claims body) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return p.signText(t, string(text))
}

func (p *pair) signText(t *testing.T, payload string) string {
	t.Helper()
	return signWith(t, p.alg, p.priv, p.id, payload)
}

func signWith(t *testing.T, alg jose.SignatureAlgorithm, key any, id, payload string) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// keyServer serves a key set that tests change.
type keyServer struct {
	*httptest.Server
	asked atomic.Int64
	down  atomic.Bool
	mu    sync.Mutex
	pairs []*pair
}

func serveKeys(t *testing.T, pairs ...*pair) *keyServer {
	t.Helper()
	s := &keyServer{pairs: pairs}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if s.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
			_ = json.NewEncoder(w).Encode(body{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		var set jose.JSONWebKeySet
		for _, p := range s.pairs {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: p.priv.Public(), KeyID: p.id, Use: "sig"})
		}
		_ = json.NewEncoder(w).Encode(set)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) set(pairs ...*pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pairs = pairs
}

func mount(t *testing.T) *enginetest.Harness {
	h := enginetest.Mount(t, jwt.New(), nil)
	h.Random = true // keys of states are made up
	return h
}

// write does what has to succeed.
func write(t *testing.T, h *enginetest.Harness, path string, body any) *engines.Response {
	t.Helper()
	resp, err := h.Do(engines.Update, path, body, nil)
	if err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	return resp
}

// refuse does what has to be refused as invalid, in these words.
func refuse(t *testing.T, h *enginetest.Harness, text, path string, body any) {
	t.Helper()
	if resp, err := h.Do(engines.Update, path, body, nil); err == nil || engines.KindOf(err) != engines.KindInvalid || !strings.Contains(err.Error(), text) {
		t.Errorf("write %s %v: answered %v %v, want a refusal with %q", path, body, resp, err, text)
	}
}

func read(t *testing.T, h *enginetest.Harness, path string) map[string]any {
	t.Helper()
	resp, err := h.Do(engines.Read, path, nil, nil)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return enginetest.Data(t, resp)
}

func allow(t *testing.T, h *enginetest.Harness, token string) *engines.Auth {
	t.Helper()
	resp, err := h.Do(engines.Update, "login", body{"role": "r", "jwt": token}, nil)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return resp.Auth
}

func deny(t *testing.T, h *enginetest.Harness, text, token string) {
	t.Helper()
	refuse(t, h, text, "login", body{"role": "r", "jwt": token})
}

// claims are good ones, with changes; nil takes one away.
func claims(h *enginetest.Harness, change body) body {
	out := body{
		"iss": "https://issuer", "aud": "coffer", "sub": "alice",
		"iat": h.Now.Unix(), "nbf": h.Now.Unix(), "exp": h.Now.Add(time.Hour).Unix(),
	}
	maps.Copy(out, change)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}
