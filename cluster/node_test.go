package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// TestRestart closes and opens a node several times, with snapshots between.
func TestRestart(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		dir := t.TempDir()
		for round := range 4 {
			n := start(t, config(dir, logStore))
			v := read(t, n)
			for i := range round * 10 {
				if value(t, v, key(i)) != "v" {
					t.Fatalf("round %d: %s is gone", round, key(i))
				}
			}
			v.Close()
			for i := range 10 {
				propose(t, n, put(key(round*10+i), "v"))
				if i == 5 && round > 0 {
					if err := n.ForceSnapshot(within(t, patience)); err != nil {
						t.Fatal(err)
					}
				}
			}
			closeNode(t, n)
		}
	})
}

// copyTree copies a folder as a kill -9 would leave it.
func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestStoreBehindTheLog starts from files as they are while the node runs: the
// log has every acknowledged command, the store next to nothing.
func TestStoreBehindTheLog(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		c := config(t.TempDir(), logStore)
		n := start(t, c)
		for i := range 50 {
			propose(t, n, put(key(i), "v"))
			if i == 20 {
				if err := n.ForceSnapshot(within(t, patience)); err != nil {
					t.Fatal(err)
				}
			}
		}
		v := read(t, n)
		index, want := v.Index(), checksum(t, v)

		c.Dir = copyTree(t, c.Dir)
		store, err := fsm.Open(fsm.Options{Dir: filepath.Join(c.Dir, cluster.StateDir)})
		if err != nil {
			t.Fatal(err)
		}
		if at := store.AppliedIndex(); at >= index || at == 0 {
			t.Fatalf("the store is at %d of %d: the test shows nothing", at, index)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		m := open(t, c)
		if err := m.WaitApplied(within(t, patience), index); err != nil {
			t.Fatal(err)
		}
		got := m.Local()
		defer got.Close()
		for i := range 50 {
			if value(t, got, key(i)) != "v" {
				t.Fatalf("%s is gone", key(i))
			}
		}
		if got.Index() == index && checksum(t, got) != want {
			t.Error("another state at the same index")
		}
	})
}

// TestStoreAheadOfTheSnapshot replays entries that the store has already:
// commands that would change something a second time must not.
func TestStoreAheadOfTheSnapshot(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), "")
	n := start(t, c)
	propose(t, n, put("k", "0"))
	if err := n.ForceSnapshot(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	version := uint64(0)
	for range 10 {
		cmd := put("k", "1")
		if version != 0 {
			cmd.Checks = []*fsmpb.Check{{Key: []byte("k"), Version: version}}
		}
		version = propose(t, n, cmd).Index
	}
	v := read(t, n)
	index, want := v.Index(), checksum(t, v)
	v.Close()
	closeNode(t, n) // which flushes the store
	store, err := fsm.Open(fsm.Options{Dir: filepath.Join(c.Dir, cluster.StateDir)})
	if err != nil {
		t.Fatal(err)
	}
	if at := store.AppliedIndex(); at != index {
		t.Fatalf("the store is at %d of %d", at, index)
	}
	flushed := store.View()
	if checksum(t, flushed) != want {
		t.Error("closing left another state at the same index")
	}
	flushed.Close()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	m := start(t, c)
	again := read(t, m)
	row, _, err := again.Get([]byte("k"))
	if err != nil || row.Version != version {
		t.Errorf("version %d, want %d, %v", row.Version, version, err)
	}
}

// TestStateDeleted loses the store: it comes back from the snapshot and the log.
func TestStateDeleted(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		c := config(t.TempDir(), logStore)
		c.TrailingLogs = 1
		n := start(t, c)
		for i := range 40 {
			propose(t, n, put(key(i), "v"))
			if i == 30 {
				if err := n.ForceSnapshot(within(t, patience)); err != nil {
					t.Fatal(err)
				}
			}
		}
		closeNode(t, n)
		if err := os.RemoveAll(filepath.Join(c.Dir, cluster.StateDir)); err != nil {
			t.Fatal(err)
		}
		v := read(t, start(t, c))
		for i := range 40 {
			if value(t, v, key(i)) != "v" {
				t.Fatalf("%s is gone", key(i))
			}
		}
	})
}

// TestLostFiles: what is gone is noticed, and the node does not start with
// less than it had acknowledged.
func TestLostFiles(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		c := config(t.TempDir(), logStore)
		c.TrailingLogs = 1
		n := start(t, c)
		for i := range 20 {
			propose(t, n, put(key(i), "v"))
		}
		if err := n.ForceSnapshot(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			propose(t, n, put(key(i), "w"))
		}
		closeNode(t, n)
		log := cluster.RaftFile
		if logStore == cluster.LogStoreWAL {
			log = cluster.LogDir
		}
		for what, c2 := range map[string]struct {
			remove []string
			want   error
		}{
			"log":                 {[]string{log}, cluster.ErrLogLost},
			"snapshots":           {[]string{cluster.SnapshotDir}, cluster.ErrLogLost},
			"snapshots and state": {[]string{cluster.SnapshotDir, cluster.StateDir}, cluster.ErrLogLost},
		} {
			lost := c
			lost.Dir = copyTree(t, c.Dir)
			for _, name := range c2.remove {
				if err := os.RemoveAll(filepath.Join(lost.Dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := cluster.Open(lost); !errors.Is(err, c2.want) {
				t.Errorf("without %s: %v", what, err)
				if err == nil {
					_ = n.Close()
				}
			}
		}
	})
}

// TestFlippedLog flips a byte of a stored entry, at several places. To raft-wal
// damage at its very end looks like a write that was cut off, which it takes
// back: then the store tells that something is missing.
func TestFlippedLog(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		c := config(t.TempDir(), logStore)
		n := start(t, c)
		for i := range 10 {
			propose(t, n, put(key(i), fmt.Sprintf("recognisable value %d", i)))
		}
		closeNode(t, n)
		for _, entry := range []int{4, 9} {
			for _, at := range []int{0, 5, 19} {
				flipped := c
				flipped.Dir = copyTree(t, c.Dir)
				flip(t, flipped.Dir, logStore, fmt.Appendf(nil, "recognisable value %d", entry), at)
				n, err := cluster.Open(flipped)
				tornTail := entry == 9 && logStore == cluster.LogStoreWAL && errors.Is(err, cluster.ErrLogLost)
				if !errors.Is(err, cluster.ErrCorrupt) && !tornTail {
					t.Errorf("entry %d, byte %d: %v", entry, at, err)
				}
				if err == nil {
					_ = n.Close()
				}
			}
		}
		// The original still opens.
		start(t, c)
	})
}

// flip changes a byte of every occurrence of a text in the files of the log:
// bolt also has pages that are no longer in use.
func flip(t *testing.T, dir, logStore string, text []byte, at int) {
	t.Helper()
	paths := []string{filepath.Join(dir, cluster.RaftFile)}
	if logStore == cluster.LogStoreWAL {
		var err error
		if paths, err = filepath.Glob(filepath.Join(dir, cluster.LogDir, "*.wal")); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for from := 0; ; found++ {
			i := bytes.Index(data[from:], text)
			if i < 0 {
				break
			}
			if _, err := f.WriteAt([]byte{data[from+i+at] ^ 0x01}, int64(from+i+at)); err != nil {
				t.Fatal(err)
			}
			from += i + len(text)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Fatal("the text is not in the log")
	}
}

// TestFlippedWhileRunning damages an entry that the leader then has to send:
// it halts, says why, and answers nothing more.
func TestFlippedWhileRunning(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 1, nil)
	a := w.leader()
	for i := range 10 {
		propose(t, a, put(key(i), "recognisable value"))
	}
	flip(t, filepath.Join(w.dir, "a"), "", []byte("recognisable value"), 3)
	w.start("b")
	// The library lets the old voters commit the change, so it may succeed.
	if err := a.AddVoter(within(t, patience), "b", "b"); err != nil && !errors.Is(err, cluster.ErrUnknown) {
		t.Errorf("add a voter: %v", err)
	}
	select {
	case err := <-w.fatal["a"]:
		if !errors.Is(err, cluster.ErrCorrupt) {
			t.Errorf("halted with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the node did not halt")
	}
	if _, err := a.Propose(t.Context(), put("x", "")); !errors.Is(err, cluster.ErrNotProposed) || !errors.Is(err, cluster.ErrCorrupt) {
		t.Errorf("propose: %v", err)
	}
	if _, err := a.Read(t.Context()); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("read: %v", err)
	}
}

func TestStalledDisk(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 1)
	c := config(t.TempDir(), "")
	c.StallTimeout = time.Nanosecond
	c.Fatal = func(err error) { fatal <- err }
	n := open(t, c)
	if err := n.Bootstrap(); err != nil {
		t.Log(err)
	}
	// A machine that is busy may end a write before it looks at the time.
	for ctx := within(t, patience); ctx.Err() == nil; {
		select {
		case err := <-fatal:
			if !errors.Is(err, cluster.ErrStalled) {
				t.Error(err)
			}
			return
		default:
			if _, err := n.Propose(ctx, put("k", "v")); err != nil {
				runtime.Gosched()
			}
		}
	}
	t.Fatal("a write that takes longer than it may went unnoticed")
}

func TestLockedFolder(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), "")
	open(t, c)
	if _, err := cluster.Open(c); !errors.Is(err, cluster.ErrLocked) {
		t.Error(err)
	}
}

func TestBootstrapOnce(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), "")
	n := open(t, c)
	if ok, err := n.Bootstrapped(); ok || err != nil {
		t.Error(ok, err)
	}
	if _, err := n.Propose(t.Context(), put("k", "")); !errors.Is(err, cluster.ErrNotLeader) {
		t.Error(err)
	}
	if _, err := n.Read(t.Context()); !errors.Is(err, cluster.ErrNotLeader) {
		t.Error(err)
	}
	if err := n.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	if err := n.Bootstrap(); !errors.Is(err, cluster.ErrBootstrapped) {
		t.Error(err)
	}
	if ok, err := n.Bootstrapped(); !ok || err != nil {
		t.Error(ok, err)
	}
	if _, _, err := n.LeadContext(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	want := []cluster.Member{{ID: "a", Address: "a", Voter: true}}
	if got := n.Members(); len(got) != 1 || got[0] != want[0] {
		t.Errorf("%+v", got)
	}
	if s := n.Status(); !s.Leader || !s.Ready || s.LeaderID != "a" || s.LeaderAddr != "a" || s.Term == 0 || s.Applied == 0 {
		t.Errorf("%+v", s)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for what, edit := range map[string]func(*cluster.Config){
		"no folder":  func(c *cluster.Config) { c.Dir = "" },
		"no id":      func(c *cluster.Config) { c.NodeID = "" },
		"log store":  func(c *cluster.Config) { c.LogStore = "paper" },
		"cluster id": func(c *cluster.Config) { c.ClusterID = make([]byte, fsm.MaxClusterID+1) },
	} {
		c := config(t.TempDir(), "")
		edit(&c)
		if n, err := cluster.Open(c); err == nil {
			t.Errorf("%s: accepted", what)
			_ = n.Close()
		}
	}
}

func TestProposeOutcomes(t *testing.T) {
	t.Parallel()
	n := start(t, config(t.TempDir(), ""))
	now := n.Now().UnixMilli()
	id := append([]byte{byte(now >> 40), byte(now >> 32), byte(now >> 24), byte(now >> 16), byte(now >> 8), byte(now)}, "0123456789"...)
	cmd := func() *fsmpb.Command {
		c := put("k", "v")
		c.RequestId, c.Reply = id, []byte("reply")
		return c
	}
	first := propose(t, n, cmd())
	if first.Code != fsm.OK {
		t.Fatalf("%+v", first)
	}
	if r := propose(t, n, cmd()); r.Code != fsm.Duplicate || r.Index != first.Index || string(r.Reply) != "reply" {
		t.Errorf("%+v", r)
	}
	old := put("k", "v")
	old.RequestId = make([]byte, 16)
	if r := propose(t, n, old); r.Code != fsm.TooOld {
		t.Errorf("%+v", r)
	}
	_, term, err := n.LeadContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fenced := put("k", "v")
	fenced.FenceTerm = term + 1
	if r := propose(t, n, fenced); r.Code != fsm.StaleTerm {
		t.Errorf("%+v", r)
	}
	before := n.Status().LastIndex
	if r := propose(t, n, put("", "v")); r.Code != fsm.Invalid {
		t.Errorf("%+v", r)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Propose(cancelled, put("k", "w")); !errors.Is(err, cluster.ErrNotProposed) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if after := n.Status().LastIndex; after != before {
		t.Errorf("%d entries in the log for nothing", after-before)
	}
	closeNode(t, n)
	if _, err := n.Propose(t.Context(), put("k", "w")); !errors.Is(err, cluster.ErrNotProposed) {
		t.Error(err)
	}
	if _, err := n.Read(t.Context()); !errors.Is(err, cluster.ErrClosed) {
		t.Error(err)
	}
	if _, _, err := n.LeadContext(t.Context()); !errors.Is(err, cluster.ErrClosed) {
		t.Error(err)
	}
}

// TestPrivateModes looks at everything that a node has on disk.
func TestPrivateModes(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		c := config(filepath.Join(t.TempDir(), "deep", "node"), logStore)
		n := start(t, c)
		propose(t, n, put("k", "v"))
		if err := n.ForceSnapshot(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		files := 0
		err := filepath.Walk(c.Dir, func(path string, info os.FileInfo, err error) error {
			files++
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %s", path, info.Mode())
			}
			return err
		})
		if err != nil || files < 10 {
			t.Errorf("%d files, %v", files, err)
		}
	})
}

// TestWriteSnapshot writes the state of a running node and verifies it.
func TestWriteSnapshot(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), "")
	c.ClusterID = []byte("cluster")
	n := start(t, c)
	index := propose(t, n, put("k", "v")).Index
	var b bytes.Buffer
	if err := n.WriteSnapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	h, _, err := fsm.VerifySnapshot(&b)
	if err != nil || string(h.ClusterID) != "cluster" || h.Index != index {
		t.Errorf("%+v, %v", h, err)
	}
}
