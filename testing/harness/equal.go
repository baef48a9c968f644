package harness

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"

	"github.com/coffer-secrets/coffer/core/backup"
)

// verify is what must hold of every cluster at the end of its test.
func (c *Cluster) verify() {
	if !c.t.Failed() {
		c.Equal()
	}
}

// Equal fails the test unless all nodes that run and serve come to the same bytes at
// one index. A node tells its state as a snapshot.
func (c *Cluster) Equal() {
	c.t.Helper()
	c.Await("all nodes to have one index", func() bool {
		sums, indexes := make(map[[sha256.Size]byte]bool), make(map[uint64]bool)
		for _, n := range c.Nodes {
			if !n.running() {
				continue
			}
			status, answer := n.Do(http.MethodGet, "sys/storage/raft/snapshot", n.RootToken, nil)
			if status != http.StatusOK {
				continue // sealed, or with another root token since a restore
			}
			index, sum, err := contents(answer)
			if err != nil {
				c.t.Logf("the snapshot of %s: %v", n.Address, err)
				return false
			}
			sums[sum], indexes[index] = true, true
		}
		if len(indexes) > 1 {
			return false
		}
		if len(sums) > 1 {
			c.t.Errorf("the states of nodes differ at one index")
		}
		return true
	})
}

// contents is the index of a snapshot, and the digest of the state in it.
func contents(archive []byte) (index uint64, sum [sha256.Size]byte, err error) {
	r, err := backup.Open(bytes.NewReader(archive), nil)
	if err != nil {
		return 0, sum, err
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, r); err != nil {
		return 0, sum, err
	}
	if r.Meta().Index == 0 {
		return 0, sum, errors.New("harness: a snapshot without an index")
	}
	return r.Meta().Index, [sha256.Size]byte(digest.Sum(nil)), nil
}

// running reports whether the process has not ended.
func (s *Server) running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return s.cmd != nil
	}
}
