package cluster_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/cluster"
)

var errFull = errors.New("no space left")

// fullJournal is a journal whose disk is full once it is told so.
type fullJournal struct {
	*journal
	full atomic.Bool
}

func (j *fullJournal) StoreLogs(entries []*raft.Log) error {
	if j.full.Load() {
		return errFull
	}
	return j.journal.StoreLogs(entries)
}

// TestFullDisk has a log that cannot be written: the node goes on with nothing,
// since Raft's own way to go on leaves followers behind for good.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 1)
	c := config("node", "")
	c.Fatal = func(err error) { fatal <- err }
	j := &fullJournal{journal: newJournal()}
	n, err := cluster.OpenOn(c, vfs.NewMem(), j)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.LeadContext(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	j.full.Store(true)
	if _, err := n.Propose(within(t, patience), put("k", "v")); err == nil {
		t.Error("a write is acknowledged that is in no log")
	}
	select {
	case err := <-fatal:
		if !errors.Is(err, errFull) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the node did not halt")
	}
}
