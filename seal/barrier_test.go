package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
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

func sealValue(t testing.TB, b *seal.Barrier, place, plaintext string) []byte {
	t.Helper()
	sealed, err := b.SealValue([]byte(place), []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
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

func TestChangedValueDoesNotOpen(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	sealed := sealValue(t, b, "place", "value")
	for i := range sealed {
		if _, err := b.OpenValue([]byte("place"), flip(sealed, i)); err == nil {
			t.Errorf("opens with byte %d flipped", i)
		}
		if _, err := b.OpenValue([]byte("place"), sealed[:i]); err == nil {
			t.Errorf("opens when cut to %d bytes", i)
		}
	}
}

// All of 100,000 nonces, drawn by several goroutines, differ.
func TestNoncesAreUnique(t *testing.T) {
	t.Parallel()
	const workers, each = 4, 25_000
	b := newBarrier(t, newKeyring(t))
	nonces := make([][][12]byte, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				sealed, err := b.SealValue(nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				nonces[w] = append(nonces[w], [12]byte(sealed[5:17]))
			}
		})
	}
	wg.Wait()
	seen := make(map[[12]byte]bool)
	for _, some := range nonces {
		for _, nonce := range some {
			seen[nonce] = true
		}
	}
	if len(seen) != workers*each {
		t.Errorf("%d values have %d nonces", workers*each, len(seen))
	}
	if got := b.Encryptions(); got != workers*each {
		t.Errorf("counted %d encryptions, want %d", got, workers*each)
	}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	b := newBarrier(t, k)
	old := sealValue(t, b, "place", "old")
	name, err := b.SealName(nil, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	next := rotate(t, k)
	if err := b.Install(next); err != nil {
		t.Fatal(err)
	}
	if got := b.Encryptions(); got != 0 {
		t.Errorf("a new term has %d encryptions", got)
	}
	recent := sealValue(t, b, "place", "new")
	if recent[4] != 2 {
		t.Errorf("sealed under term %d, want 2", recent[4])
	}
	for want, sealed := range map[string][]byte{"old": old, "new": recent} {
		if got, err := b.OpenValue([]byte("place"), sealed); err != nil || string(got) != want {
			t.Errorf("got %q, want %q: %v", got, want, err)
		}
	}
	if _, err := newBarrier(t, next).OpenValue([]byte("place"), recent); err != nil {
		t.Errorf("the installed keyring is no longer the caller's: %v", err)
	}
	if again, err := b.SealName(nil, "a/b"); err != nil || !bytes.Equal(again, name) {
		t.Errorf("rotation changes a sealed name: %v", err)
	}
	if _, err := newBarrier(t, k).OpenValue([]byte("place"), recent); !errors.Is(err, seal.ErrUnknownTerm) {
		t.Errorf("a keyring opens a term it does not have: %v", err)
	}
	for name, other := range map[string]*seal.Keyring{"older": k, "foreign": newKeyring(t)} {
		if err := b.Install(other); !errors.Is(err, seal.ErrKeyringMismatch) {
			t.Errorf("%s keyring is installed: %v", name, err)
		}
	}
}

// The count of encryptions survives sealing the keyring, and installing the
// same keyring never lowers it.
func TestEncryptionsAreCounted(t *testing.T) {
	t.Parallel()
	k := newKeyring(t).WithEncryptions(1, 100)
	b := newBarrier(t, k)
	sealValue(t, b, "", "")
	if err := b.Install(k); err != nil {
		t.Fatal(err)
	}
	held, err := b.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	if b.Encryptions() != 101 || held.Active().Encryptions != 101 {
		t.Errorf("counted %d and %d, want 101", b.Encryptions(), held.Active().Encryptions)
	}
	if err := b.Install(k.WithEncryptions(1, 200)); err != nil || b.Encryptions() != 200 {
		t.Errorf("counted %d, want 200: %v", b.Encryptions(), err)
	}
}

// What is recorded ahead counts as it is used, by whoever recorded it; for all
// others, and after a crash, it counts at once.
func TestEncryptionsAreRecordedAhead(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	leader, other := newBarrier(t, k), newBarrier(t, k)
	ahead := k.WithEncryptions(1, 1000)
	if err := leader.InstallOwn(ahead); err != nil {
		t.Fatal(err)
	}
	sealValue(t, leader, "", "")
	for range 2 { // it is told of its own keyring too
		if err := errors.Join(leader.Install(ahead), other.Install(ahead)); err != nil {
			t.Fatal(err)
		}
	}
	if leader.Encryptions() != 1 || leader.Recorded() != 1000 || other.Encryptions() != 1000 {
		t.Errorf("counted %d of %d, and elsewhere %d", leader.Encryptions(), leader.Recorded(), other.Encryptions())
	}
	if err := leader.Install(k.WithEncryptions(1, 3000)); err != nil || leader.Encryptions() != 3000 {
		t.Errorf("counted %d, want what another leader recorded: %v", leader.Encryptions(), err)
	}
	if b := newBarrier(t, ahead); b.Encryptions() != 1000 {
		t.Errorf("counted %d after a restart", b.Encryptions())
	}
}

func TestExhaustedKeySealsNothing(t *testing.T) {
	t.Parallel()
	k := newKeyring(t).WithEncryptions(1, seal.MaxEncryptions-1)
	b := newBarrier(t, k)
	last := sealValue(t, b, "place", "last")
	if _, err := b.SealValue([]byte("place"), nil); !errors.Is(err, seal.ErrKeyExhausted) {
		t.Errorf("an exhausted key seals: %v", err)
	}
	if _, err := b.OpenValue([]byte("place"), last); err != nil {
		t.Errorf("an exhausted key does not open: %v", err)
	}
	if err := b.Install(rotate(t, k)); err != nil {
		t.Fatal(err)
	}
	sealValue(t, b, "place", "first")
}

func TestClosedBarrierIsSealed(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	b := newBarrier(t, k)
	value := sealValue(t, b, "place", "v")
	name, err := b.SealName(nil, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	b.Close()
	for what, do := range map[string]func() error{
		"SealValue":     func() error { _, err := b.SealValue(nil, nil); return err },
		"OpenValue":     func() error { _, err := b.OpenValue([]byte("place"), value); return err },
		"SealName":      func() error { _, err := b.SealName(nil, "a/b"); return err },
		"SealSegment":   func() error { _, err := b.SealSegment(nil, "a", false); return err },
		"OpenName":      func() error { _, err := b.OpenName(nil, name); return err },
		"OpenComponent": func() error { _, _, _, err := b.OpenComponent(nil, name); return err },
		"Install":       func() error { return b.Install(k) },
		"Keyring":       func() error { _, err := b.Keyring(); return err },
	} {
		if err := do(); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	// The barrier zeroed its own copy, not the caller's.
	if got, err := newBarrier(t, k).OpenValue([]byte("place"), value); err != nil || string(got) != "v" {
		t.Errorf("Close reaches the caller's keyring: %v", err)
	}
}

// Under the race detector this shows that keys are not zeroed under a reader.
func TestUseRotateAndCloseTogether(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	b := newBarrier(t, k)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				if err := useBarrier(b, fmt.Sprintf("dir%d/leaf%d", w, i%50)); err != nil {
					if !errors.Is(err, seal.ErrSealed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			k = rotate(t, k)
			if err := b.Install(k); err != nil {
				t.Error(err)
			}
		}
		b.Close()
	})
	wg.Wait()
}

func useBarrier(b *seal.Barrier, path string) error {
	name, err := b.SealName([]byte("prefix"), path)
	if err != nil {
		return err
	}
	sealed, err := b.SealValue(name, []byte(path))
	if err != nil {
		return err
	}
	opened, err := b.OpenValue(name, sealed)
	if err != nil {
		return err
	}
	got, err := b.OpenName([]byte("prefix"), name)
	if err != nil {
		return err
	}
	if got != path || string(opened) != path {
		return fmt.Errorf("%q came back as %q with value %q", path, got, opened)
	}
	return nil
}
