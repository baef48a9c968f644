package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"regexp"
	"sync"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
)

// newCeremony returns a ceremony, and the key and shares it asks for.
func newCeremony(t testing.TB, n, threshold int) (c *seal.Ceremony, key []byte, shares [][]byte) {
	t.Helper()
	key = newRootKey(t)
	g, shares, err := seal.NewGeneration(key, n, threshold, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err = seal.NewCeremony(g, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return c, key, shares
}

func TestCeremony(t *testing.T) {
	t.Parallel()
	c, key, shares := newCeremony(t, 5, 3)
	if c.Shares() != 5 || c.Threshold() != 3 {
		t.Errorf("%d of %d, want 3 of 5", c.Threshold(), c.Shares())
	}
	for round := range 2 { // it begins anew after the key
		for i, step := range []struct {
			share    int
			progress int
			done     bool
		}{{4, 1, false}, {4, 1, false}, {0, 2, false}, {4, 2, false}, {2, 0, true}} {
			got, err := c.Submit(shares[step.share])
			if err != nil {
				t.Fatal(err)
			}
			if (got != nil) != step.done || c.Progress() != step.progress {
				t.Errorf("round %d, step %d: key %v, progress %d", round, i, got != nil, c.Progress())
			}
			if step.done && !bytes.Equal(got, key) {
				t.Errorf("round %d: wrong key", round)
			}
		}
	}
}

func TestCeremonyOfOneShare(t *testing.T) {
	t.Parallel()
	c, key, shares := newCeremony(t, 1, 1)
	if got, err := c.Submit(shares[0]); err != nil || !bytes.Equal(got, key) {
		t.Errorf("the only share does not give the key: %v", err)
	}
}

// Who has no share changes nothing, and learns nothing but that.
func TestForeignSharesSpoilNothing(t *testing.T) {
	t.Parallel()
	c, key, shares := newCeremony(t, 3, 2)
	_, _, foreign := newCeremony(t, 3, 2)
	if _, err := c.Submit(shares[0]); err != nil {
		t.Fatal(err)
	}
	for name, share := range map[string][]byte{
		"another generation": foreign[0], "flipped": flip(shares[1], 7), "other coordinate": flip(shares[1], -1),
		"empty": nil, "short": shares[1][:32], "long": append(bytes.Clone(shares[1]), 0),
		"huge": make([]byte, 1<<20), "the key itself": key,
	} {
		if got, err := c.Submit(share); got != nil || !errors.Is(err, seal.ErrUnknownShare) || c.Progress() != 1 {
			t.Errorf("%s: key %v, progress %d, error %v", name, got != nil, c.Progress(), err)
		}
	}
	if got, err := c.Submit(shares[2]); err != nil || !bytes.Equal(got, key) {
		t.Errorf("the ceremony was spoiled: %v", err)
	}
}

func TestCeremonyReset(t *testing.T) {
	t.Parallel()
	c, _, shares := newCeremony(t, 3, 2)
	if _, err := c.Submit(shares[0]); err != nil {
		t.Fatal(err)
	}
	c.Reset()
	if got, err := c.Submit(shares[1]); got != nil || err != nil || c.Progress() != 1 {
		t.Errorf("a share survives Reset: key %v, progress %d: %v", got != nil, c.Progress(), err)
	}
}

// A ceremony keeps copies: zeroing a submitted share does not hurt it.
func TestCeremonyCopiesShares(t *testing.T) {
	t.Parallel()
	c, key, shares := newCeremony(t, 3, 2)
	if _, err := c.Submit(shares[0]); err != nil {
		t.Fatal(err)
	}
	clear(shares[0])
	if got, err := c.Submit(shares[1]); err != nil || !bytes.Equal(got, key) {
		t.Errorf("wrong key: %v", err)
	}
}

func TestCeremonyNonce(t *testing.T) {
	t.Parallel()
	c, _, _ := newCeremony(t, 3, 2)
	other, _, _ := newCeremony(t, 3, 2)
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if !uuid.MatchString(c.Nonce()) || c.Nonce() == other.Nonce() {
		t.Errorf("nonces %s and %s", c.Nonce(), other.Nonce())
	}
	if err := c.CheckNonce(c.Nonce()); err != nil {
		t.Error(err)
	}
	for _, nonce := range []string{"", other.Nonce(), c.Nonce()[:35], c.Nonce() + "0"} {
		if err := c.CheckNonce(nonce); !errors.Is(err, seal.ErrWrongNonce) {
			t.Errorf("%q: %v", nonce, err)
		}
	}
	g, _, err := seal.NewGeneration(newRootKey(t), 3, 2, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.NewCeremony(g, io.LimitReader(rand.Reader, 15)); err == nil {
		t.Error("a nonce is made of 15 random bytes")
	}
}

// However submissions interleave, the key is given out once for each threshold
// of distinct shares.
func TestCeremonyConcurrently(t *testing.T) {
	t.Parallel()
	c, key, shares := newCeremony(t, 6, 3)
	var wg sync.WaitGroup
	keys := make(chan []byte, len(shares))
	for _, share := range shares {
		wg.Go(func() {
			got, err := c.Submit(share)
			if err != nil {
				t.Error(err)
			}
			if got != nil {
				keys <- got
			}
		})
	}
	wg.Wait()
	close(keys)
	n := 0
	for got := range keys {
		n++
		if !bytes.Equal(got, key) {
			t.Error("wrong key")
		}
	}
	if n != 2 || c.Progress() != 0 {
		t.Errorf("six shares gave %d keys and progress %d, want 2 and 0", n, c.Progress())
	}
}

// A rekey in two phases: the old shares authorise it, the new ones are proven,
// and only then is the keyring sealed under the new root key stored.
func TestRekeyInTwoPhases(t *testing.T) {
	t.Parallel()
	authorise, oldRoot, oldShares := newCeremony(t, 5, 3)
	k := newKeyring(t)
	stored := sealKeyring(t, k, oldRoot)

	var root []byte
	for _, share := range oldShares[:3] {
		var err error
		if root, err = authorise.Submit(share); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := seal.OpenKeyring(root, stored)
	if err != nil {
		t.Fatal(err)
	}
	verify, newRoot, newShares := newCeremony(t, 3, 2)
	pending := sealKeyring(t, opened, newRoot)

	if _, err := verify.Submit(oldShares[0]); !errors.Is(err, seal.ErrUnknownShare) {
		t.Errorf("an old share proves a new one: %v", err)
	}
	for _, share := range newShares[:2] {
		if root, err = verify.Submit(share); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := seal.OpenKeyring(root, pending); err != nil {
		t.Errorf("the proven shares do not open the new keyring: %v", err)
	}
	if _, err := seal.OpenKeyring(oldRoot, pending); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("the old shares still open it: %v", err)
	}
}
