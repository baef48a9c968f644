package seal

import (
	"fmt"
	"io"
	"slices"
)

// Limits of sharing.
const (
	// MaxShares is the number of shares a secret can be split into: the
	// non-zero elements of GF(2^8).
	MaxShares = 255

	// maxSharedSecret bounds the secret, in bytes.
	maxSharedSecret = 1 << 16
)

// CheckSharing returns an error that is ErrInvalidThreshold if a secret cannot be
// split into so many shares with such a threshold.
func CheckSharing(shares, threshold int) error {
	switch {
	case shares < 1 || shares > MaxShares:
		return fmt.Errorf("%w: the number of shares must be between 1 and %d", ErrInvalidThreshold, MaxShares)
	case threshold < 1:
		return fmt.Errorf("%w: the threshold must be at least 1", ErrInvalidThreshold)
	case threshold > shares:
		return fmt.Errorf("%w: the threshold must not exceed the number of shares", ErrInvalidThreshold)
	case threshold == 1 && shares > 1:
		return fmt.Errorf("%w: the threshold must be at least 2 if there is more than one share", ErrInvalidThreshold)
	}
	return nil
}

// Split divides a secret into shares, any threshold of which give it back and
// fewer of which tell nothing: each byte is the value at 0 of a random
// polynomial over GF(2^8) of degree threshold-1 (Shamir 1979).
//
// A share is the values of the polynomials at its x, one byte each, followed by
// x, which is random, not 0 and distinct. The single share of one is the secret
// itself, without x.
func Split(secret []byte, shares, threshold int, rand io.Reader) ([][]byte, error) {
	if err := CheckSharing(shares, threshold); err != nil {
		return nil, err
	}
	if len(secret) == 0 || len(secret) > maxSharedSecret {
		return nil, fmt.Errorf("seal: split: secret must be 1 to %d bytes long", maxSharedSecret)
	}
	if shares == 1 {
		return [][]byte{slices.Clone(secret)}, nil
	}
	xs, err := distinctCoordinates(shares, rand)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, shares)
	for i := range out {
		out[i] = make([]byte, len(secret)+1)
		out[i][len(secret)] = xs[i]
	}
	polynomial := make([]byte, threshold) // lowest coefficient first
	defer clear(polynomial)
	for at, intercept := range secret {
		polynomial[0] = intercept
		if _, err := io.ReadFull(rand, polynomial[1:]); err != nil {
			return nil, fmt.Errorf("seal: split: %w", err)
		}
		for i, x := range xs {
			out[i][at] = evaluate(polynomial, x)
		}
	}
	return out, nil
}

// Combine returns the secret of which shares are at least threshold many. With
// fewer, or with a wrong one among them, the result is a wrong secret: it says
// nothing of itself, and must be tried on what it opens. A single share is
// returned as it is (see Split).
//
// The error is ErrInvalidShares if these shares cannot belong together.
func Combine(shares [][]byte) ([]byte, error) {
	if err := checkShares(shares); err != nil {
		return nil, err
	}
	if len(shares) == 1 {
		return slices.Clone(shares[0]), nil
	}
	size := len(shares[0]) - 1
	secret := make([]byte, size)
	for i, share := range shares {
		weight := lagrangeAtZero(shares, i)
		for at, y := range share[:size] {
			secret[at] ^= gfMul(weight, y)
		}
	}
	return secret, nil
}

func checkShares(shares [][]byte) error {
	if len(shares) == 0 || len(shares) > MaxShares {
		return fmt.Errorf("%w: there must be 1 to %d", ErrInvalidShares, MaxShares)
	}
	size := len(shares[0])
	if len(shares) == 1 {
		if size == 0 || size > maxSharedSecret {
			return fmt.Errorf("%w: impossible length", ErrInvalidShares)
		}
		return nil
	}
	if size < 2 || size > maxSharedSecret+1 {
		return fmt.Errorf("%w: impossible length", ErrInvalidShares)
	}
	var seen [256]bool
	for _, share := range shares {
		if len(share) != size {
			return fmt.Errorf("%w: unequal lengths", ErrInvalidShares)
		}
		x := share[size-1]
		if x == 0 {
			return fmt.Errorf("%w: a share has no coordinate", ErrInvalidShares)
		}
		if seen[x] {
			return fmt.Errorf("%w: two have the same coordinate", ErrInvalidShares)
		}
		seen[x] = true
	}
	return nil
}

// lagrangeAtZero returns the value at 0 of the Lagrange basis polynomial of
// share i: the product of x_j / (x_j - x_i) over all other j.
func lagrangeAtZero(shares [][]byte, i int) byte {
	last := len(shares[0]) - 1
	numerator, denominator := byte(1), byte(1)
	for j := range shares {
		if j == i {
			continue
		}
		numerator = gfMul(numerator, shares[j][last])
		denominator = gfMul(denominator, shares[j][last]^shares[i][last])
	}
	return gfMul(numerator, gfInv(denominator))
}

// evaluate returns the value of a polynomial at x, by Horner's rule.
func evaluate(polynomial []byte, x byte) byte {
	var y byte
	for i := len(polynomial) - 1; i >= 0; i-- {
		y = gfMul(y, x) ^ polynomial[i]
	}
	return y
}

// distinctCoordinates returns n of 1..255, drawn without replacement: the first
// n steps of a Fisher-Yates shuffle.
func distinctCoordinates(n int, rand io.Reader) ([]byte, error) {
	all := make([]byte, MaxShares)
	for i := range all {
		all[i] = byte(i + 1)
	}
	for i := range n {
		j, err := uniform(rand, len(all)-i)
		if err != nil {
			return nil, fmt.Errorf("seal: split: %w", err)
		}
		all[i], all[i+j] = all[i+j], all[i]
	}
	return all[:n], nil
}

// uniform returns a number below n, which is between 1 and 256, without bias:
// what lies beyond the last multiple of n is drawn again.
func uniform(rand io.Reader, n int) (int, error) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return 0, err
		}
		if int(b[0]) < 256-256%n {
			return int(b[0]) % n, nil
		}
	}
}
