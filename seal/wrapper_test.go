package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
	"github.com/coffer-secrets/coffer/seal/static"
)

func newStatic(t testing.TB, id string, key []byte, previous ...string) *static.Wrapper {
	t.Helper()
	cfg := static.Config{CurrentKeyID: id, CurrentKey: encode64(key)}
	if len(previous) == 2 {
		cfg.PreviousKeyID, cfg.PreviousKey = previous[0], previous[1]
	}
	w, err := static.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestBlobRoundTrip(t *testing.T) {
	t.Parallel()
	want := seal.Blob{
		Type: strings.Repeat("t", 32), KeyID: strings.Repeat("k", 256), Ciphertext: make([]byte, 64<<10),
	}
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.ParseBlob(data)
	if err != nil || got.Type != want.Type || got.KeyID != want.KeyID || !bytes.Equal(got.Ciphertext, want.Ciphertext) {
		t.Errorf("the largest blob does not come back: %v", err)
	}
	for name, bad := range map[string]seal.Blob{
		"empty":           {},
		"no type":         {KeyID: "k", Ciphertext: []byte{1}},
		"no key id":       {Type: "t", Ciphertext: []byte{1}},
		"no ciphertext":   {Type: "t", KeyID: "k"},
		"long type":       {Type: want.Type + "t", KeyID: "k", Ciphertext: []byte{1}},
		"long key id":     {Type: "t", KeyID: want.KeyID + "k", Ciphertext: []byte{1}},
		"long ciphertext": {Type: "t", KeyID: "k", Ciphertext: make([]byte, 64<<10+1)},
	} {
		if _, err := bad.Marshal(); !errors.Is(err, seal.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrapRootKey(t *testing.T) {
	t.Parallel()
	oldKey, newKey, rootKey := newRootKey(t), newRootKey(t), newRootKey(t)
	w := newStatic(t, "old", oldKey)
	wrapped, err := seal.WrapRootKey(t.Context(), w, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, rootKey) {
		t.Error("the root key is not wrapped")
	}
	for name, test := range map[string]struct {
		w      seal.Wrapper
		rewrap bool
	}{
		"same key": {w, false},
		"rotated":  {newStatic(t, "new", newKey, "old", encode64(oldKey)), true},
	} {
		got, err := seal.UnwrapRootKey(t.Context(), test.w, wrapped)
		if err != nil || !bytes.Equal(got, rootKey) {
			t.Errorf("%s: the root key does not come back: %v", name, err)
		}
		if got, err := seal.NeedsRewrap(t.Context(), test.w, wrapped); err != nil || got != test.rewrap {
			t.Errorf("%s: needs rewrap %v, want %v: %v", name, got, test.rewrap, err)
		}
	}
	for name, other := range map[string]*static.Wrapper{
		"other id":  newStatic(t, "other", oldKey),
		"other key": newStatic(t, "old", newKey),
	} {
		if _, err := seal.UnwrapRootKey(t.Context(), other, wrapped); err == nil {
			t.Errorf("%s: unwraps", name)
		}
	}
}

func TestUnwrapRefuses(t *testing.T) {
	t.Parallel()
	w := newStatic(t, "id", newRootKey(t))
	if _, err := seal.WrapRootKey(t.Context(), w, make([]byte, 31)); err == nil {
		t.Error("a short root key is wrapped")
	}
	marshal := func(blob seal.Blob, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		data, err := blob.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	other := marshal(seal.Blob{Type: "transit", KeyID: "id", Ciphertext: []byte("abc")}, nil)
	for name, test := range map[string]struct {
		wrapped []byte
		want    error
	}{
		"other type":      {other, seal.ErrWrongKey},
		"not a blob":      {[]byte("blob"), seal.ErrMalformed},
		"other purpose":   {marshal(w.Encrypt(t.Context(), make([]byte, 32), []byte("purpose"))), seal.ErrCorrupt},
		"not a root key":  {marshal(w.Encrypt(t.Context(), make([]byte, 31), []byte("coffer/v1/root-key"))), seal.ErrMalformed},
		"cut ciphertext":  {marshal(seal.Blob{Type: "static", KeyID: "id", Ciphertext: []byte("abc")}, nil), seal.ErrCorrupt},
		"unknown key ids": {marshal(seal.Blob{Type: "static", KeyID: "no", Ciphertext: []byte("abc")}, nil), seal.ErrWrongKey},
	} {
		if _, err := seal.UnwrapRootKey(t.Context(), w, test.wrapped); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", name, err, test.want)
		}
	}
	if rewrap, err := seal.NeedsRewrap(t.Context(), w, other); err != nil || !rewrap {
		t.Errorf("another type needs rewrap %v: %v", rewrap, err)
	}
	if _, err := seal.NeedsRewrap(t.Context(), w, nil); !errors.Is(err, seal.ErrMalformed) {
		t.Errorf("nothing needs rewrap: %v", err)
	}
}

func TestRecoveryKey(t *testing.T) {
	t.Parallel()
	key, verifier, err := seal.NewRecoveryKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := seal.NewRecoveryKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(verifier, key[:8]) {
		t.Error("the verifier holds the key")
	}
	if err := seal.VerifyRecoveryKey(verifier, key); err != nil {
		t.Error(err)
	}
	for name, test := range map[string]struct {
		verifier, key []byte
		want          error
	}{
		"other key":        {verifier, other, seal.ErrWrongKey},
		"no key":           {verifier, nil, seal.ErrWrongKey},
		"short key":        {verifier, key[:31], seal.ErrWrongKey},
		"changed verifier": {flip(verifier, -1), key, seal.ErrWrongKey},
		"unknown version":  {flip(verifier, 0), key, seal.ErrMalformed},
		"short verifier":   {verifier[:32], key, seal.ErrMalformed},
		"no verifier":      {nil, key, seal.ErrMalformed},
	} {
		if err := seal.VerifyRecoveryKey(test.verifier, test.key); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", name, err, test.want)
		}
	}
}
