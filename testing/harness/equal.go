package harness

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/core/backup"
)

// verify is what must hold of every cluster at the end of its test.
func (c *Cluster) verify() {
	if !c.t.Failed() {
		c.Equal()
	}
}

// Equal fails the test unless all nodes that run and serve come to the same bytes at
// one index.
func (c *Cluster) Equal() {
	c.t.Helper()
	var states []State
	for _, n := range c.Nodes {
		states = append(states, func() (archive []byte, serves bool) {
			if !n.running() {
				return nil, false
			}
			status, answer := n.Do(http.MethodGet, SnapshotPath, n.RootToken, nil)
			return answer, status == http.StatusOK // not if sealed, or with another root token since a restore
		})
	}
	SameStates(c.t, 0, states...)
}

// SnapshotPath is where a node tells its state.
const SnapshotPath = "sys/storage/raft/snapshot"

// State is the snapshot that a node has of its state, if it serves.
type State func() (archive []byte, serves bool)

// SameStates waits until at least so many of the nodes serve and all that do have
// come to one index, and fails the test unless their states are the same bytes then.
func SameStates(t testing.TB, least int, nodes ...State) {
	t.Helper()
	sums, indexes, serving := make(map[[sha256.Size]byte]bool), make(map[uint64]bool), 0
	defer func() {
		if t.Failed() {
			t.Logf("of %d nodes %d serve, at the indexes %v", len(nodes), serving, indexes)
		}
	}()
	await(t, "the nodes to have one index", func() bool {
		clear(sums)
		clear(indexes)
		serving = 0
		for _, node := range nodes {
			archive, serves := node()
			if !serves {
				continue
			}
			serving++
			index, sum, err := contents(archive)
			if err != nil {
				t.Logf("the snapshot of a node: %v", err)
				return false
			}
			sums[sum], indexes[index] = true, true
		}
		if len(indexes) > 1 || serving < least {
			return false
		}
		if len(sums) > 1 {
			t.Errorf("the states of nodes differ at one index")
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
