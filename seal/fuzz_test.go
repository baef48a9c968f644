package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
)

// seeds calls add for every vector of a file of testdata.
func seeds(f *testing.F, name string, add func(v vector)) vectorFile {
	f.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		f.Fatal(err)
	}
	var file vectorFile
	if err := json.Unmarshal(data, &file); err != nil {
		f.Fatal(err)
	}
	if len(file.Cases) == 0 {
		f.Fatalf("no seeds in %s", name)
	}
	for _, v := range file.Cases {
		add(v)
	}
	return file
}

func fuzzBarrier(f *testing.F, file vectorFile) *seal.Barrier {
	f.Helper()
	k, err := seal.OpenKeyring(file.RootKey, file.Keyring)
	if err != nil {
		f.Fatal(err)
	}
	return newBarrier(f, k)
}

// among fails unless err is one of those that an operation documents.
func among(t *testing.T, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	t.Errorf("undocumented error %v", err)
}

func FuzzOpenValue(f *testing.F) {
	file := seeds(f, "values", func(v vector) { f.Add([]byte(v.Place), []byte(v.Sealed)) })
	b := fuzzBarrier(f, file)
	f.Fuzz(func(t *testing.T, place, sealed []byte) {
		if _, err := b.OpenValue(place, sealed); err != nil {
			among(t, err, seal.ErrMalformed, seal.ErrUnknownTerm, seal.ErrCorrupt)
		}
		again, err := b.SealValue(place, sealed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.OpenValue(place, again); err != nil || !bytes.Equal(got, sealed) {
			t.Errorf("does not come back: %v", err)
		}
		if _, err := b.OpenValue(append(place, 0), again); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("opens at another place: %v", err)
		}
	})
}

// The content is fuzzed too: sealed by the reference, so that it is parsed.
func FuzzOpenKeyring(f *testing.F) {
	rootKey := pattern("root key", 32)
	seeds(f, "keyring", func(v vector) { f.Add([]byte(v.Keyring)) })
	f.Add(referenceKeyring().plain())
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := seal.OpenKeyring(rootKey, data); err != nil {
			among(t, err, seal.ErrMalformed, seal.ErrWrongKey)
		}
		sealed := append([]byte{1}, refGCM(rootKey, make([]byte, 12), data, []byte("coffer/v1/keyring"))...)
		k, err := seal.OpenKeyring(rootKey, sealed)
		if err != nil {
			among(t, err, seal.ErrMalformed)
			return
		}
		again, err := seal.OpenKeyring(rootKey, sealKeyring(t, k, rootKey))
		if err != nil || again.Active() != k.Active() || len(again.Terms()) != int(k.Active().Number) {
			t.Errorf("does not come back: %v", err)
		}
	})
}

func FuzzOpenName(f *testing.F) {
	file := seeds(f, "names", func(v vector) { f.Add([]byte(v.Prefix), []byte(v.Sealed), v.Path) })
	b := fuzzBarrier(f, file)
	f.Fuzz(func(t *testing.T, prefix, sealed []byte, path string) {
		if opened, err := b.OpenName(prefix, sealed); err != nil {
			among(t, err, seal.ErrMalformed, seal.ErrCorrupt)
		} else if again, err := b.SealName(prefix, opened); err != nil || !bytes.Equal(again, sealed) {
			t.Errorf("%q is sealed otherwise: %v", opened, err)
		}
		if _, _, n, err := b.OpenComponent(prefix, sealed); err != nil {
			among(t, err, seal.ErrMalformed, seal.ErrCorrupt)
		} else if n <= 0 || len(prefix)+n > len(sealed) {
			t.Errorf("a component of length %d", n)
		}
		name, err := b.SealName(prefix, path)
		if err != nil {
			among(t, err, seal.ErrInvalidName, seal.ErrNameTooLong)
			return
		}
		if got, err := b.OpenName(prefix, name); err != nil || got != path {
			t.Errorf("%q opens as %q: %v", path, got, err)
		}
		if want := refName(referenceKeyring().NameKey, prefix, path); !bytes.Equal(name, want) {
			t.Errorf("%q is sealed as %x, want %x", path, name, want)
		}
	})
}

// Shares are cut from one input: a length, then as many shares of it as there
// are.
func FuzzCombine(f *testing.F) {
	seeds(f, "shamir", func(v vector) {
		var all []byte
		for _, share := range v.Shares {
			all = append(all, share...)
		}
		f.Add(33, all)
	})
	f.Fuzz(func(t *testing.T, size int, data []byte) {
		var shares [][]byte
		for size > 0 && len(data) > 0 {
			n := min(size, len(data))
			shares, data = append(shares, data[:n]), data[n:]
		}
		secret, err := seal.Combine(shares)
		if err != nil {
			among(t, err, seal.ErrInvalidShares)
			return
		}
		if len(shares) == 1 {
			if !bytes.Equal(secret, shares[0]) {
				t.Error("a single share is not the secret")
			}
		} else if want := secretOf(shares); !bytes.Equal(secret, want) {
			t.Errorf("got %x, want %x", secret, want)
		}
	})
}

func FuzzParseBlob(f *testing.F) {
	seeds(f, "blob", func(v vector) { f.Add([]byte(v.Sealed)) })
	f.Fuzz(func(t *testing.T, data []byte) {
		blob, err := seal.ParseBlob(data)
		if err != nil {
			among(t, err, seal.ErrMalformed)
			return
		}
		if again, err := blob.Marshal(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("marshals to %x, want %x: %v", again, data, err)
		}
	})
}

func FuzzDecodeToken(f *testing.F) {
	f.Add("acag", "abcd")
	f.Add("YWNhZw==", "abcd")
	f.Fuzz(func(t *testing.T, encoded, otp string) {
		token, err := seal.DecodeToken(encoded, otp)
		if err != nil {
			among(t, err, seal.ErrInvalidOTP)
			return
		}
		again, err := seal.EncodeToken(token, otp)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := seal.DecodeToken(again, otp); err != nil || got != token {
			t.Errorf("does not come back: %v", err)
		}
	})
}

func FuzzPGPKey(f *testing.F) {
	f.Add("")
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----")
	f.Add("mDMEZZZZZRYJKwYBBAHaRw8BAQdA")
	f.Fuzz(func(t *testing.T, key string) {
		if _, err := seal.PGPFingerprint(key); err != nil {
			among(t, err, seal.ErrInvalidPGPKey)
		}
	})
}
