package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/seal"
)

var update = flag.Bool("update", false, "write testdata/*.json anew from the reference")

// A vector is one case of testdata/*.json. One with an error must fail, with
// just that error; one without must give what it says.
type vector struct {
	Comment string `json:"comment"`
	Error   string `json:"error,omitempty"`

	RootKey hexBytes `json:"root_key,omitempty"` // default: the file's
	Keyring hexBytes `json:"keyring,omitempty"`  // sealed; default: the file's

	Terms []vectorTerm        `json:"terms,omitempty"`
	Keys  map[string]hexBytes `json:"keys,omitempty"` // derived, by label

	Place     hexBytes `json:"place,omitempty"`
	Plaintext hexBytes `json:"plaintext,omitempty"`

	Prefix hexBytes `json:"prefix,omitempty"`
	Path   string   `json:"path,omitempty"`

	Sealed hexBytes `json:"sealed,omitempty"`

	Shares []hexBytes `json:"shares,omitempty"`
	Secret hexBytes   `json:"secret,omitempty"`

	Type       string   `json:"type,omitempty"`
	KeyID      string   `json:"key_id,omitempty"`
	Ciphertext hexBytes `json:"ciphertext,omitempty"`
}

type vectorTerm struct {
	Number      uint32    `json:"number"`
	InstallTime time.Time `json:"install_time"`
	Encryptions uint64    `json:"encryptions"`
}

type vectorFile struct {
	Comment string   `json:"comment"`
	RootKey hexBytes `json:"root_key,omitempty"`
	Keyring hexBytes `json:"keyring,omitempty"`
	Cases   []vector `json:"cases"`
}

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectorErrors names the errors in vectors.
func vectorErrors() map[string]error {
	return map[string]error{
		"wrong key":      seal.ErrWrongKey,
		"malformed":      seal.ErrMalformed,
		"corrupt":        seal.ErrCorrupt,
		"unknown term":   seal.ErrUnknownTerm,
		"invalid name":   seal.ErrInvalidName,
		"name too long":  seal.ErrNameTooLong,
		"invalid shares": seal.ErrInvalidShares,
	}
}

// loadVectors reads a file of vectors. It fails unless there are both cases that
// succeed and cases that fail, and unless the file is what the reference writes.
func loadVectors(t *testing.T, name string) vectorFile {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	written, err := json.MarshalIndent(referenceVectors(t)[name], "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	written = append(written, '\n')
	if *update {
		if err := os.WriteFile(path, written, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, written) {
		t.Errorf("%s is not what the reference writes", path)
	}
	var file vectorFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var good, bad int
	for _, v := range file.Cases {
		if v.Error == "" {
			good++
		} else {
			bad++
		}
	}
	if good == 0 || bad == 0 {
		t.Fatalf("%s has %d cases that succeed and %d that fail", path, good, bad)
	}
	return file
}

// runVectors runs do on each case; do returns what it was given to check and
// compares what it got only if there is no error.
func runVectors(t *testing.T, name string, do func(t *testing.T, f vectorFile, v vector) error) {
	t.Helper()
	file := loadVectors(t, name)
	for _, v := range file.Cases {
		t.Run(v.Comment, func(t *testing.T) {
			err := do(t, file, v)
			want := vectorErrors()[v.Error]
			if v.Error != "" && want == nil {
				t.Fatalf("no error is named %q", v.Error)
			}
			if !errors.Is(err, want) {
				t.Errorf("got error %v, want %v", err, want)
			}
		})
	}
}

func vectorBarrier(t *testing.T, f vectorFile) *seal.Barrier {
	t.Helper()
	k, err := seal.OpenKeyring(f.RootKey, f.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	return newBarrier(t, k)
}

func TestKeyringVectors(t *testing.T) {
	t.Parallel()
	runVectors(t, "keyring", func(t *testing.T, _ vectorFile, v vector) error {
		k, err := seal.OpenKeyring(v.RootKey, v.Keyring)
		if err != nil {
			return err
		}
		terms := k.Terms()
		if len(terms) != len(v.Terms) {
			t.Fatalf("%d terms, want %d", len(terms), len(v.Terms))
		}
		for i, want := range v.Terms {
			if terms[i] != seal.Term(want) {
				t.Errorf("term %+v, want %+v", terms[i], want)
			}
		}
		for label, want := range v.Keys {
			if got := k.Derive(label, len(want)); !bytes.Equal(got, want) {
				t.Errorf("key %q is %x, want %x", label, got, want)
			}
		}
		return nil
	})
}

func TestValueVectors(t *testing.T) {
	t.Parallel()
	runVectors(t, "values", func(t *testing.T, f vectorFile, v vector) error {
		plaintext, err := vectorBarrier(t, f).OpenValue(v.Place, v.Sealed)
		if err == nil && !bytes.Equal(plaintext, v.Plaintext) {
			t.Errorf("got %x, want %x", plaintext, v.Plaintext)
		}
		return err
	})
}

// A case without a sealed name is a path that must not be sealed.
func TestNameVectors(t *testing.T) {
	t.Parallel()
	runVectors(t, "names", func(t *testing.T, f vectorFile, v vector) error {
		b := vectorBarrier(t, f)
		if v.Sealed == nil {
			_, err := b.SealName(v.Prefix, v.Path)
			return err
		}
		path, err := b.OpenName(v.Prefix, v.Sealed)
		if err != nil {
			return err
		}
		if path != v.Path {
			t.Errorf("got path %q, want %q", path, v.Path)
		}
		for _, heat := range []string{"cold", "hot"} {
			sealed, err := b.SealName(v.Prefix, v.Path)
			if err != nil || !bytes.Equal(sealed, v.Sealed) {
				t.Errorf("%s: got name %x, want %x: %v", heat, sealed, v.Sealed, err)
			}
		}
		return nil
	})
}

func TestShamirVectors(t *testing.T) {
	t.Parallel()
	runVectors(t, "shamir", func(t *testing.T, _ vectorFile, v vector) error {
		var shares [][]byte
		for _, share := range v.Shares {
			shares = append(shares, share)
		}
		secret, err := seal.Combine(shares)
		if err == nil && !bytes.Equal(secret, v.Secret) {
			t.Errorf("got secret %x, want %x", secret, v.Secret)
		}
		return err
	})
}

func TestBlobVectors(t *testing.T) {
	t.Parallel()
	runVectors(t, "blob", func(t *testing.T, _ vectorFile, v vector) error {
		blob, err := seal.ParseBlob(v.Sealed)
		if err != nil {
			return err
		}
		if blob.Type != v.Type || blob.KeyID != v.KeyID || !bytes.Equal(blob.Ciphertext, v.Ciphertext) {
			t.Errorf("got %+v", blob)
		}
		again, err := blob.Marshal()
		if err != nil || !bytes.Equal(again, v.Sealed) {
			t.Errorf("marshals to %x, want %x: %v", again, v.Sealed, err)
		}
		return nil
	})
}
