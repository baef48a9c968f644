package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/coffer-secrets/coffer/core/backup"
)

// text is a state.
type text string

func (t text) WriteSnapshot(_ context.Context, w io.Writer, _ []byte) error {
	_, err := io.WriteString(w, string(t))
	return err
}

var key = bytes.Repeat([]byte{7}, backup.KeyBytes)

func archive(t testing.TB, state string) []byte {
	t.Helper()
	var b bytes.Buffer
	meta := backup.Meta{Cluster: "c", Version: "1", Index: 9, Term: 2, Time: time.Unix(1e9, 0).UTC()}
	if err := backup.Write(t.Context(), &b, key, meta, text(state)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(r io.Reader, key []byte) (string, backup.Meta, error) {
	a, err := backup.Open(r, key)
	if err != nil {
		return "", backup.Meta{}, err
	}
	state, err := io.ReadAll(a)
	return string(state), a.Meta(), err
}

func TestArchive(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"", "state", strings.Repeat("long ", 1<<18)} {
		data := archive(t, state)
		for _, r := range []io.Reader{bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data))} {
			if len(state) > 1<<10 {
				r = bytes.NewReader(data)
			}
			got, meta, err := read(r, key)
			if err != nil || got != state || meta.Cluster != "c" || meta.Index != 9 || meta.Size != int64(len(state)) {
				t.Errorf("%d bytes: got %d, %+v, %v", len(state), len(got), meta, err)
			}
		}
		if meta, err := backup.Inspect(bytes.NewReader(data)); err != nil || meta.Version != "1" {
			t.Errorf("%+v, %v", meta, err)
		}
	}
}

// TestDamagedArchive: no byte can be missing or another.
func TestDamagedArchive(t *testing.T) {
	t.Parallel()
	data := archive(t, "the state")
	for i := range data {
		if _, _, err := read(bytes.NewReader(data[:i]), key); !errors.Is(err, backup.ErrArchive) {
			t.Fatalf("cut at %d of %d: %v", i, len(data), err)
		}
		flipped := slices.Clone(data)
		flipped[i] ^= 0x10
		if got, meta, err := read(bytes.NewReader(flipped), key); err == nil && (got != "the state" || meta.Cluster != "c") {
			t.Fatalf("flipped at %d: %q, %+v", i, got, meta)
		}
	}
	boom := errors.New("boom")
	if _, _, err := read(io.MultiReader(bytes.NewReader(data[:40]), iotest.ErrReader(boom)), key); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}

func TestOtherCluster(t *testing.T) {
	t.Parallel()
	data := archive(t, "the state")
	other := bytes.Repeat([]byte{8}, backup.KeyBytes)
	if _, _, err := read(bytes.NewReader(data), other); !errors.Is(err, backup.ErrUnsigned) {
		t.Errorf("%v", err)
	}
	if got, _, err := read(bytes.NewReader(data), nil); err != nil || got != "the state" {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archive(f, "state"))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _, _ = read(bytes.NewReader(data), key)
	})
}
