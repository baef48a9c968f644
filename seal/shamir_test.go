package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
)

func split(t testing.TB, secret []byte, shares, threshold int) [][]byte {
	t.Helper()
	out, err := seal.Split(secret, shares, threshold, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Every subset of five shares gives the secret if it is large enough, and
// something else if it is not.
func TestEverySubset(t *testing.T) {
	t.Parallel()
	secret := pattern("secret", 32)
	for threshold := 2; threshold <= 5; threshold++ {
		shares := split(t, secret, 5, threshold)
		for subset := 1; subset < 1<<5; subset++ {
			var some [][]byte
			for i, share := range shares {
				if subset>>i&1 == 1 {
					some = append(some, share)
				}
			}
			got, err := seal.Combine(some)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(got, secret) != (len(some) >= threshold) {
				t.Errorf("%d shares at threshold %d: gives the secret %v", len(some), threshold, bytes.Equal(got, secret))
			}
		}
	}
}

// Shares agree with the reference's interpolation: any threshold of them lie on
// one polynomial, and at 0 it is the secret.
func TestSplitAgreesWithReference(t *testing.T) {
	t.Parallel()
	secret := pattern("secret", 16)
	for _, n := range [][2]int{{2, 2}, {5, 3}, {9, 5}, {255, 7}} {
		shares := split(t, secret, n[0], n[1])
		for _, some := range [][][]byte{shares[:n[1]], shares[n[0]-n[1]:]} {
			if got := secretOf(some); !bytes.Equal(got, secret) {
				t.Errorf("%d of %d give %x by the reference", n[1], n[0], got)
			}
		}
	}
	for _, n := range [][2]int{{255, 255}, {255, 2}} {
		if got, err := seal.Combine(split(t, secret, n[0], n[1])); err != nil || !bytes.Equal(got, secret) {
			t.Errorf("%d of %d give %x: %v", n[1], n[0], got, err)
		}
	}
}

// Combining two shares needs products and inverses. All pairs of coordinates
// with changing values run through nearly all operands; the reference judges.
func TestFieldAgainstReference(t *testing.T) {
	t.Parallel()
	var inverse [256]byte
	for a := range inverse {
		inverse[a] = refInv(byte(a))
	}
	for x1 := 1; x1 < 256; x1++ {
		for x2 := 1; x2 < 256; x2++ {
			if x1 == x2 {
				continue
			}
			one, two := byte(x1), byte(x2)
			y1, y2 := one*31+two*7, one*5+two*113
			denominator := inverse[one^two]
			want := refMul(y1, refMul(two, denominator)) ^ refMul(y2, refMul(one, denominator))
			got, err := seal.Combine([][]byte{{y1, one}, {y2, two}})
			if err != nil || got[0] != want {
				t.Fatalf("(%d,%d), (%d,%d) give %d, want %d: %v", x1, y1, x2, y2, got[0], want, err)
			}
		}
	}
}

// One share less than the threshold tells nothing: whatever the secret, the
// first share is any byte. (Each of 256 values is expected 64 times; fewer than
// 20 or more than 140 has a chance below one in 10^9.)
func TestTooFewSharesTellNothing(t *testing.T) {
	t.Parallel()
	for _, secret := range []byte{0x00, 0x01, 0xff} {
		var count [256]int
		for range 256 * 64 {
			count[split(t, []byte{secret}, 3, 2)[0][0]]++
		}
		for y, n := range count {
			if n < 20 || n > 140 {
				t.Errorf("secret %#x: share %#x came %d times", secret, y, n)
			}
		}
	}
}

func TestCoordinatesAreRandomAndDistinct(t *testing.T) {
	t.Parallel()
	var count [256]int
	for range 2000 {
		seen := make(map[byte]bool)
		for _, share := range split(t, []byte{1}, 10, 2) {
			x := share[len(share)-1]
			if x == 0 || seen[x] {
				t.Fatalf("coordinate %d", x)
			}
			seen[x] = true
			count[x]++
		}
	}
	for x := 1; x < 256; x++ { // expected 78 times each
		if count[x] < 25 || count[x] > 150 {
			t.Errorf("coordinate %d came %d times", x, count[x])
		}
	}
}

func TestSplitValidates(t *testing.T) {
	t.Parallel()
	secret := make([]byte, 32)
	for _, n := range [][2]int{{0, 0}, {0, 1}, {-1, -1}, {1, 0}, {1, 2}, {2, 1}, {5, 1}, {3, 4}, {256, 3}, {5, -2}} {
		if _, err := seal.Split(secret, n[0], n[1], rand.Reader); !errors.Is(err, seal.ErrInvalidThreshold) {
			t.Errorf("%d of %d: %v", n[1], n[0], err)
		}
	}
	for _, size := range []int{0, 1<<16 + 1} {
		if _, err := seal.Split(make([]byte, size), 3, 2, rand.Reader); err == nil {
			t.Errorf("a secret of %d bytes is split", size)
		}
	}
	single := split(t, pattern("s", 32), 1, 1)
	if len(single) != 1 || !bytes.Equal(single[0], pattern("s", 32)) {
		t.Errorf("the share of one is %x", single)
	}
}

func TestGeneration(t *testing.T) {
	t.Parallel()
	key := newRootKey(t)
	g, shares, err := seal.NewGeneration(key, 5, 3, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Validate(); err != nil || len(shares) != 5 {
		t.Fatalf("%d shares: %v", len(shares), err)
	}
	_, others, err := seal.NewGeneration(key, 5, 3, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, share := range shares {
		if !g.Has(share) || g.Has(others[i]) || g.Has(share[:32]) || g.Has(flip(share, i)) {
			t.Errorf("share %d is not told from others", i)
		}
		if printed := fmt.Sprintf("%x", g); bytes.Contains([]byte(printed), fmt.Appendf(nil, "%x", share[:8])) {
			t.Errorf("the generation holds share %d", i)
		}
	}
	short := g
	short.Digests = g.Digests[:4]
	truncated := g
	truncated.Digests = append([][]byte{g.Digests[0][:31]}, g.Digests[1:]...)
	for name, bad := range map[string]seal.Generation{
		"zero": {}, "short": short, "truncated": truncated,
		"threshold": {Shares: 5, Threshold: 6, Digests: g.Digests},
	} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%s: valid", name)
		}
		if _, err := seal.NewCeremony(bad, rand.Reader); err == nil {
			t.Errorf("%s: a ceremony begins", name)
		}
	}
	if _, _, err := seal.NewGeneration(key[:31], 5, 3, rand.Reader); err == nil {
		t.Error("a short key is split")
	}
}
