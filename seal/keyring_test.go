package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/seal"
)

func newRootKey(t testing.TB) []byte {
	t.Helper()
	key, err := seal.NewRootKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sealKeyring(t testing.TB, k *seal.Keyring, rootKey []byte) []byte {
	t.Helper()
	sealed, err := k.Seal(rootKey)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func rotate(t testing.TB, k *seal.Keyring) *seal.Keyring {
	t.Helper()
	next, err := k.Rotate(rand.Reader, installed.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestKeyringRoundTrip(t *testing.T) {
	t.Parallel()
	k, rootKey := rotate(t, newKeyring(t)).WithEncryptions(1, 42), newRootKey(t)
	opened, err := seal.OpenKeyring(rootKey, sealKeyring(t, k, rootKey))
	if err != nil {
		t.Fatal(err)
	}
	want := []seal.Term{
		{Number: 1, InstallTime: installed, Encryptions: 42},
		{Number: 2, InstallTime: installed.Add(time.Hour)},
	}
	if got := fmt.Sprint(opened.Terms()); got != fmt.Sprint(want) || opened.Active() != want[1] {
		t.Errorf("got terms %v, active %v, want %v", got, opened.Active(), want)
	}
	if !bytes.Equal(opened.Derive("x", 32), k.Derive("x", 32)) {
		t.Error("derived keys differ")
	}
	sealed, err := newBarrier(t, k).SealValue(nil, []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := newBarrier(t, opened).OpenValue(nil, sealed); err != nil || string(got) != "v" {
		t.Errorf("the opened keyring does not open values: %v", err)
	}
}

func TestSealedKeyringsDiffer(t *testing.T) {
	t.Parallel()
	k, rootKey := newKeyring(t), newRootKey(t)
	if bytes.Equal(sealKeyring(t, k, rootKey), sealKeyring(t, k, rootKey)) {
		t.Error("a nonce was used twice")
	}
}

func TestChangedKeyringDoesNotOpen(t *testing.T) {
	t.Parallel()
	rootKey := newRootKey(t)
	sealed := sealKeyring(t, newKeyring(t), rootKey)
	for i := range sealed {
		if _, err := seal.OpenKeyring(rootKey, flip(sealed, i)); err == nil {
			t.Errorf("opens with byte %d flipped", i)
		}
		if _, err := seal.OpenKeyring(rootKey, sealed[:i]); err == nil {
			t.Errorf("opens when cut to %d bytes", i)
		}
	}
}

func TestRotateKeepsTheOldKeyring(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	next := rotate(t, k)
	if len(k.Terms()) != 1 || len(next.Terms()) != 2 || next.Active().Number != 2 {
		t.Errorf("terms %v and %v", k.Terms(), next.Terms())
	}
	// Two rotations of one keyring are rivals: neither has the other's key.
	if err := newBarrier(t, next).Install(rotate(t, k)); !errors.Is(err, seal.ErrKeyringMismatch) {
		t.Errorf("a rival keyring is installed: %v", err)
	}
}

func TestKeyringIsFull(t *testing.T) {
	t.Parallel()
	// A keyring with every term it can hold, by the reference.
	full := refKeyring{NameKey: pattern("n", 64), DeriveRoot: pattern("d", 32)}
	for i := range uint32(seal.MaxTerms) {
		full.Terms = append(full.Terms, refTerm{Number: i + 1, Key: make([]byte, 32)})
	}
	rootKey := newRootKey(t)
	k, err := seal.OpenKeyring(rootKey, full.seal(rootKey, make([]byte, 12)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Rotate(rand.Reader, installed); err == nil {
		t.Error("a full keyring is rotated")
	}
	full.Terms = append(full.Terms, refTerm{Number: seal.MaxTerms + 1, Key: make([]byte, 32)})
	if _, err := seal.OpenKeyring(rootKey, full.seal(rootKey, make([]byte, 12))); !errors.Is(err, seal.ErrMalformed) {
		t.Errorf("an overfull keyring opens: %v", err)
	}
}

func TestWithEncryptions(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	counted := k.WithEncryptions(1, 10)
	if k.Active().Encryptions != 0 || counted.Active().Encryptions != 10 {
		t.Errorf("counts %d and %d, want 0 and 10", k.Active().Encryptions, counted.Active().Encryptions)
	}
	for term, n := range map[uint32]uint64{0: 20, 1: 9, 2: 20} {
		if got := counted.WithEncryptions(term, n); got.Active().Encryptions != 10 {
			t.Errorf("term %d set to %d: count %d, want 10", term, n, got.Active().Encryptions)
		}
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	a := k.Derive("audit", 32)
	for name, other := range map[string][]byte{
		"other label":   k.Derive("audit2", 32),
		"other keyring": newKeyring(t).Derive("audit", 32),
	} {
		if bytes.Equal(a, other) {
			t.Errorf("%s derives the same key", name)
		}
	}
	if !bytes.Equal(a, rotate(t, k).Derive("audit", 32)) {
		t.Error("rotation changes a derived key")
	}
	for name, bad := range map[string]func(){
		"no label":  func() { k.Derive("", 32) },
		"too short": func() { k.Derive("audit", 15) },
		"too long":  func() { k.Derive("audit", 1025) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			bad()
		}()
	}
}

func TestKeyringHidesItsKeys(t *testing.T) {
	t.Parallel()
	rootKey, ring := newRootKey(t), referenceKeyring()
	k, err := seal.OpenKeyring(rootKey, ring.seal(rootKey, make([]byte, 12)))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, printed := range []string{fmt.Sprintf(format, k), fmt.Sprintf(format, *k)} {
			for _, key := range [][]byte{ring.NameKey[:8], ring.DeriveRoot[:8], ring.Terms[0].Key[:8]} {
				decimal := strings.Trim(fmt.Sprint(key), "[]")
				if strings.Contains(printed, hex.EncodeToString(key)) || strings.Contains(printed, decimal) ||
					strings.Contains(printed, string(key)) {
					t.Errorf("%s prints a key", format)
				}
			}
		}
	}
}

func TestRandomnessFails(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	for n := range 64 + 32 + 32 {
		if _, err := seal.NewKeyring(io.LimitReader(rand.Reader, int64(n)), installed); err == nil {
			t.Errorf("a keyring is made of %d random bytes", n)
		}
	}
	if _, err := k.Rotate(io.LimitReader(rand.Reader, 31), installed); err == nil {
		t.Error("a term is made of 31 random bytes")
	}
	if _, err := seal.NewRootKey(io.LimitReader(rand.Reader, 31)); err == nil {
		t.Error("a root key is made of 31 random bytes")
	}
	if _, err := seal.Split(make([]byte, 32), 5, 3, io.LimitReader(rand.Reader, 60)); err == nil {
		t.Error("a secret is split with 60 random bytes")
	}
	if _, _, err := seal.NewRecoveryKey(io.LimitReader(rand.Reader, 31)); err == nil {
		t.Error("a recovery key is made of 31 random bytes")
	}
	if _, err := seal.NewOTP(io.LimitReader(rand.Reader, 5), 26); err == nil {
		t.Error("a one-time password is made of 5 random bytes")
	}
}

func TestZero(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	b := newBarrier(t, k)
	sealed, err := b.SealValue(nil, []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	k.Zero()
	if _, err := b.OpenValue(nil, sealed); err != nil {
		t.Errorf("a barrier does not have its own copy: %v", err)
	}
	if _, err := newBarrier(t, k).OpenValue(nil, sealed); !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("a zeroed keyring still has its key: %v", err)
	}
}
