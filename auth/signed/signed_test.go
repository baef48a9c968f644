package signed_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coffer-secrets/coffer/auth/signed"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestSets: of a set only public keys for signatures count.
func TestSets(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{KeyID: "shared", Key: []byte("0123456789abcdef0123456789abcdef")},
		{KeyID: "private", Key: key},
		{KeyID: "encryption", Key: key.Public(), Use: "enc"},
		{KeyID: "weak", Key: weak.Public()},
		{KeyID: "good", Key: key.Public(), Use: "sig", Algorithm: "ES256"},
		{Key: key.Public()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var set signed.Set
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	if len(set) != 2 || set[0].ID != "good" || !set.Has("good") || set.Has("shared") {
		t.Errorf("it has %+v", set)
	}
	for _, bad := range []string{`{}`, `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AA"}]}`, `{"keys":[1]}`, `[]`, `{"keys":{}}`} {
		if err := json.Unmarshal([]byte(bad), &set); err == nil {
			t.Errorf("%s is a set", bad)
		}
	}
}

func TestPEM(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	good := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if _, err := signed.ParsePEM(good + "\n"); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{
		"nothing": "", "text": "x", "two": good + good, "private": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"broken": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der[1:]})),
	} {
		if _, err := signed.ParsePEM(text); err == nil {
			t.Errorf("%s is a key", name)
		}
	}
}

func TestPointers(t *testing.T) {
	t.Parallel()
	claims, err := signed.ParseClaims([]byte(`{"a":{"b/c":{"~":[1,{"d":"x"}]}},"":"empty","n":null,"/a":"slash"}`))
	if err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]any{"/a/b~1c/~0/0": json.Number("1"), "/a/b~1c/~0/1/d": "x", "": "empty"} {
		if got, ok := claims.At(pointer); !ok || got != want {
			t.Errorf("%q leads to %v", pointer, got)
		}
	}
	for _, pointer := range []string{"/a/b", "/a/b~1c/~0/2", "/a/b~1c/~0/01", "/a/b~1c/~0/-1", "/a/b~1c/~0/1/d/e", "n", "/n", "b"} {
		if got, ok := claims.At(pointer); ok {
			t.Errorf("%q leads to %v", pointer, got)
		}
	}
	for _, bad := range []string{``, `null`, `[]`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":1}x`, "{\"a\":\"\xff\"}"} {
		if claims, err := signed.ParseClaims([]byte(bad)); err == nil {
			t.Errorf("%q is %v", bad, claims)
		}
	}
}

// FuzzToken: whatever comes is refused or parsed, and never taken for signed.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{"", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"} {
		f.Add(seed)
	}
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key := signed.Key{Public: made.Public()}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := signed.Parse(text)
		if err != nil {
			return
		}
		if claims, err := token.Verify([]signed.Key{key}); err == nil {
			t.Errorf("%q is signed: %v", text, claims)
		}
		if claims, err := token.Unverified(); err == nil {
			_ = claims.Current(time.Unix(1, 0), signed.Leeways{})
			_ = claims.For([]string{"a"})
		}
	})
}
