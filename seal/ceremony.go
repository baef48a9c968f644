package seal

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"
)

// maxShareSize is the length of the share of a root or recovery key.
const maxShareSize = RootKeySize + 1

// A Ceremony collects the shares of one generation until they give a key: to
// unseal, to authorise a rekey, to prove new shares, to generate a root token.
// It is safe for concurrent use and holds at most one threshold of shares.
type Ceremony struct {
	nonce      string
	generation Generation

	mu     sync.Mutex
	shares [][]byte // distinct, fewer than the threshold
}

// NewCeremony returns a ceremony with a random nonce that asks for the shares of
// a generation.
func NewCeremony(g Generation, rand io.Reader) (*Ceremony, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	nonce, err := newNonce(rand)
	if err != nil {
		return nil, err
	}
	return &Ceremony{nonce: nonce, generation: g}, nil
}

// Nonce returns what tells this ceremony from others, in the form of a UUID.
func (c *Ceremony) Nonce() string { return c.nonce }

// CheckNonce returns ErrWrongNonce if nonce is not that of this ceremony.
func (c *Ceremony) CheckNonce(nonce string) error {
	if subtle.ConstantTimeCompare([]byte(nonce), []byte(c.nonce)) != 1 {
		return ErrWrongNonce
	}
	return nil
}

// Shares returns how many shares the generation has.
func (c *Ceremony) Shares() int { return c.generation.Shares }

// Threshold returns how many shares are needed.
func (c *Ceremony) Threshold() int { return c.generation.Threshold }

// Progress returns how many shares have been submitted.
func (c *Ceremony) Progress() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.shares)
}

// Submit adds a share, of which it keeps a copy. With the last one that is
// needed it returns the key, which the caller zeroes, and the ceremony begins
// anew under the same nonce; until then the key is nil. A share that was already
// submitted changes nothing. A share of another generation is ErrUnknownShare
// and changes nothing either, so that no one who has no share can spoil what
// others have submitted.
func (c *Ceremony) Submit(share []byte) (key []byte, err error) {
	if len(share) > maxShareSize || !c.generation.Has(share) {
		return nil, ErrUnknownShare
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.shares {
		if subtle.ConstantTimeCompare(known, share) == 1 {
			return nil, nil
		}
	}
	c.shares = append(c.shares, slices.Clone(share))
	if len(c.shares) < c.generation.Threshold {
		return nil, nil
	}
	defer c.resetLocked()
	return Combine(c.shares)
}

// Reset forgets and zeroes the shares submitted so far.
func (c *Ceremony) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resetLocked()
}

func (c *Ceremony) resetLocked() {
	for _, share := range c.shares {
		clear(share)
	}
	c.shares = nil
}

// newNonce returns a random UUID (RFC 9562, version 4).
func newNonce(rand io.Reader) (string, error) {
	var u [16]byte
	if _, err := io.ReadFull(rand, u[:]); err != nil {
		return "", fmt.Errorf("seal: make a nonce: %w", err)
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}
