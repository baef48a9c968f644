package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
)

const shareLabel = "coffer/v1/share"

// A Generation describes one set of shares and holds nothing secret, so that it
// can be stored in the clear: a digest of a share tells a wrong share from a
// right one before it is combined, but a share has at least 256 random bits that
// no digest gives away.
type Generation struct {
	Shares    int      `json:"shares"`
	Threshold int      `json:"threshold"`
	Digests   [][]byte `json:"digests"` // of each share, 32 bytes
}

// NewGeneration splits a key of RootKeySize bytes and describes the shares.
func NewGeneration(key []byte, shares, threshold int, rand io.Reader) (Generation, [][]byte, error) {
	if len(key) != RootKeySize {
		return Generation{}, nil, fmt.Errorf("seal: split: key is not %d bytes long", RootKeySize)
	}
	parts, err := Split(key, shares, threshold, rand)
	if err != nil {
		return Generation{}, nil, err
	}
	g := Generation{Shares: shares, Threshold: threshold, Digests: make([][]byte, shares)}
	for i, part := range parts {
		g.Digests[i] = shareDigest(part)
	}
	return g, parts, nil
}

// Has reports whether share is of this generation, in time that does not depend
// on which one it is.
func (g Generation) Has(share []byte) bool {
	digest, found := shareDigest(share), 0
	for _, d := range g.Digests {
		found |= subtle.ConstantTimeCompare(d, digest)
	}
	return found == 1
}

// Validate returns ErrInvalidThreshold or ErrMalformed for a description that
// NewGeneration does not make.
func (g Generation) Validate() error {
	if err := CheckSharing(g.Shares, g.Threshold); err != nil {
		return err
	}
	if len(g.Digests) != g.Shares {
		return fmt.Errorf("%w: share generation", ErrMalformed)
	}
	for _, d := range g.Digests {
		if len(d) != sha256.Size {
			return fmt.Errorf("%w: share digest", ErrMalformed)
		}
	}
	return nil
}

func shareDigest(share []byte) []byte {
	mac := hmac.New(sha256.New, []byte(shareLabel))
	mac.Write(share)
	return mac.Sum(nil)
}
