package static_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
	"github.com/coffer-secrets/coffer/seal/static"
)

// newKey returns a fixed key that differs by name.
func newKey(name string) []byte {
	key := sha256.Sum256([]byte(name))
	return key[:]
}

func writeFile(t *testing.T, content []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

func open(t *testing.T, cfg static.Config) *static.Wrapper {
	t.Helper()
	w, err := static.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// Every form of one key opens what another sealed.
func TestForms(t *testing.T) {
	key := newKey("key")
	t.Setenv("COFFER_TEST_STATIC_KEY", hex.EncodeToString(key))
	t.Setenv("COFFER_TEST_STATIC_KEY_64", base64.StdEncoding.EncodeToString(key)+"\n")
	blob, err := open(t, static.Config{CurrentKeyID: "1", CurrentKey: hex.EncodeToString(key)}).
		Encrypt(t.Context(), []byte("plaintext"), []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	if blob.Type != "static" || blob.KeyID != "1" || bytes.Contains(blob.Ciphertext, []byte("plaintext")) {
		t.Errorf("blob %+v", blob)
	}
	for name, source := range map[string]string{
		"hex":                strings.ToUpper(hex.EncodeToString(key)),
		"base64":             base64.StdEncoding.EncodeToString(key),
		"base64 unpadded":    base64.RawStdEncoding.EncodeToString(key),
		"base64 url":         base64.URLEncoding.EncodeToString(key),
		"env hex":            "env://COFFER_TEST_STATIC_KEY",
		"env base64":         "env://COFFER_TEST_STATIC_KEY_64",
		"file raw":           writeFile(t, key, 0o600),
		"file raw, readonly": writeFile(t, key, 0o400),
		"file hex":           writeFile(t, []byte(hex.EncodeToString(key)+"\n"), 0o600),
		"file base64":        writeFile(t, []byte(base64.StdEncoding.EncodeToString(key)+"\r\n"), 0o600),
	} {
		got, err := open(t, static.Config{CurrentKeyID: "1", CurrentKey: source}).
			Decrypt(t.Context(), blob, []byte("aad"))
		if err != nil || string(got) != "plaintext" {
			t.Errorf("%s: got %q: %v", name, got, err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	one, two := hex.EncodeToString(newKey("1")), hex.EncodeToString(newKey("2"))
	blob, err := open(t, static.Config{CurrentKeyID: "1", CurrentKey: one}).Encrypt(t.Context(), []byte("p"), nil)
	if err != nil {
		t.Fatal(err)
	}
	rotated := open(t, static.Config{CurrentKeyID: "2", CurrentKey: two, PreviousKeyID: "1", PreviousKey: one})
	if got, err := rotated.Decrypt(t.Context(), blob, nil); err != nil || string(got) != "p" {
		t.Errorf("the previous key opens %q: %v", got, err)
	}
	again, err := rotated.Encrypt(t.Context(), []byte("p"), nil)
	if err != nil || again.KeyID != "2" {
		t.Errorf("sealed under %q: %v", again.KeyID, err)
	}
	if id, err := rotated.KeyID(t.Context()); err != nil || id != "2" {
		t.Errorf("key id %q: %v", id, err)
	}
	after := open(t, static.Config{CurrentKeyID: "2", CurrentKey: two})
	if _, err := after.Decrypt(t.Context(), blob, nil); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("a key that is gone: %v", err)
	}
}

func TestDecryptRefuses(t *testing.T) {
	t.Parallel()
	w := open(t, static.Config{CurrentKeyID: "1", CurrentKey: hex.EncodeToString(newKey("1"))})
	good, err := w.Encrypt(t.Context(), []byte("plaintext"), []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(b *seal.Blob)) seal.Blob {
		b := good
		b.Ciphertext = bytes.Clone(b.Ciphertext)
		change(&b)
		return b
	}
	for name, test := range map[string]struct {
		blob seal.Blob
		aad  string
		want error
	}{
		"other aad":  {good, "other", seal.ErrCorrupt},
		"no aad":     {good, "", seal.ErrCorrupt},
		"other type": {with(func(b *seal.Blob) { b.Type = "transit" }), "aad", seal.ErrMalformed},
		"other id":   {with(func(b *seal.Blob) { b.KeyID = "2" }), "aad", seal.ErrWrongKey},
		"changed":    {with(func(b *seal.Blob) { b.Ciphertext[20] ^= 1 }), "aad", seal.ErrCorrupt},
		"truncated":  {with(func(b *seal.Blob) { b.Ciphertext = b.Ciphertext[:5] }), "aad", seal.ErrCorrupt},
		"empty":      {with(func(b *seal.Blob) { b.Ciphertext = nil }), "aad", seal.ErrCorrupt},
	} {
		if _, err := w.Decrypt(t.Context(), test.blob, []byte(test.aad)); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", name, err, test.want)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Decrypt(t.Context(), good, []byte("aad")); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := w.Encrypt(t.Context(), nil, nil); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("closed: %v", err)
	}
}

// No error shows a key, not even half of one.
func TestBadConfig(t *testing.T) {
	key := newKey("key")
	text := hex.EncodeToString(key)
	t.Setenv("COFFER_TEST_SHORT_KEY", text[:62])
	dir := t.TempDir()
	for name, cfg := range map[string]static.Config{
		"nothing":           {},
		"no id":             {CurrentKey: text},
		"long id":           {CurrentKeyID: strings.Repeat("i", 257), CurrentKey: text},
		"no key":            {CurrentKeyID: "1"},
		"short key":         {CurrentKeyID: "1", CurrentKey: text[:62]},
		"long key":          {CurrentKeyID: "1", CurrentKey: text + "00"},
		"not text of a key": {CurrentKeyID: "1", CurrentKey: text[:60] + "!!!!"},
		"AES-128 key":       {CurrentKeyID: "1", CurrentKey: text[:32]},
		"AES-192 key":       {CurrentKeyID: "1", CurrentKey: base64.StdEncoding.EncodeToString(key[:24])},
		"raw key":           {CurrentKeyID: "1", CurrentKey: string(key)},
		"env not set":       {CurrentKeyID: "1", CurrentKey: "env://COFFER_TEST_NOT_SET"},
		"env short":         {CurrentKeyID: "1", CurrentKey: "env://COFFER_TEST_SHORT_KEY"},
		"no file":           {CurrentKeyID: "1", CurrentKey: "file://" + dir + "/none"},
		"a directory":       {CurrentKeyID: "1", CurrentKey: "file://" + dir},
		"group readable":    {CurrentKeyID: "1", CurrentKey: writeFile(t, key, 0o640)},
		"world readable":    {CurrentKeyID: "1", CurrentKey: writeFile(t, key, 0o604)},
		"short file":        {CurrentKeyID: "1", CurrentKey: writeFile(t, key[:31], 0o600)},
		"long file":         {CurrentKeyID: "1", CurrentKey: writeFile(t, append(bytes.Clone(key), '\n'), 0o600)},
		"huge file":         {CurrentKeyID: "1", CurrentKey: writeFile(t, bytes.Repeat([]byte(text), 1000), 0o600)},
		"empty file":        {CurrentKeyID: "1", CurrentKey: writeFile(t, nil, 0o600)},
		"previous alone":    {CurrentKeyID: "1", CurrentKey: text, PreviousKey: text},
		"previous id alone": {CurrentKeyID: "1", CurrentKey: text, PreviousKeyID: "0"},
		"one id":            {CurrentKeyID: "1", CurrentKey: text, PreviousKeyID: "1", PreviousKey: text},
	} {
		w, err := static.New(cfg)
		if w != nil || !errors.Is(err, static.ErrKey) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), text[:8]) || strings.Contains(err.Error(), string(key[:8])) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}
