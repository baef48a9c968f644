package seal_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/seal"
)

var installed = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)

func newKeyring(t testing.TB) *seal.Keyring {
	t.Helper()
	k, err := seal.NewKeyring(rand.Reader, installed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newBarrier(t testing.TB, k *seal.Keyring) *seal.Barrier {
	t.Helper()
	b, err := seal.NewBarrier(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestValueRoundTrip(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	for _, size := range []int{0, 1, 15, 16, 400, 1 << 20} {
		plaintext := bytes.Repeat([]byte{0xa5}, size)
		sealed, err := b.SealValue([]byte("place"), plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != size+seal.ValueOverhead {
			t.Errorf("%d bytes sealed are %d", size, len(sealed))
		}
		opened, err := b.OpenValue([]byte("place"), sealed)
		if err != nil || !bytes.Equal(opened, plaintext) {
			t.Errorf("%d bytes do not come back: %v", size, err)
		}
	}
}
