package cluster_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
)

func snapshotOf(t testing.TB, n *cluster.Node) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := n.WriteSnapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// peek reads a row without holding on to the store.
func peek(t testing.TB, n *cluster.Node, key string) string {
	t.Helper()
	v, err := n.Read(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return value(t, v, key)
}

// TestRestoreSnapshot brings a single node back to an earlier state, which a
// restart and what is written afterwards build on.
func TestRestoreSnapshot(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		c := config(t.TempDir(), logStore)
		n := start(t, c)
		propose(t, n, put("k", "old"))
		data := snapshotOf(t, n)
		propose(t, n, put("k", "new"))
		before := propose(t, n, put("other", "x")).Index
		for range 2 { // twice in a row
			if err := n.RestoreSnapshot(t.Context(), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
		if k, other := peek(t, n, "k"), peek(t, n, "other"); k != "old" || other != "" {
			t.Errorf("%q, %q", k, other)
		}
		if now := propose(t, n, put("after", "y")); now.Code != fsm.OK || now.Index <= before {
			t.Errorf("%+v, was at %d", now, before)
		}
		for range 2 {
			closeNode(t, n)
			n = start(t, c)
			if k, after := peek(t, n, "k"), peek(t, n, "after"); k != "old" || after != "y" {
				t.Errorf("after a restart: %q, %q", k, after)
			}
		}
	})
}

// TestRestoreIntoAnother restores the state of a cluster with a longer log.
func TestRestoreIntoAnother(t *testing.T) {
	t.Parallel()
	from := start(t, config(t.TempDir(), ""))
	for i := range 50 {
		propose(t, from, put(key(i), "v"))
	}
	to := start(t, config(t.TempDir(), ""))
	if err := to.RestoreSnapshot(t.Context(), bytes.NewReader(snapshotOf(t, from))); err != nil {
		t.Fatal(err)
	}
	if got := value(t, read(t, to), key(49)); got != "v" {
		t.Errorf("read %q", got)
	}
	propose(t, to, put("k", "v"))
}

// TestFoundFrom begins a cluster with the state of another, and only with a
// whole one.
func TestFoundFrom(t *testing.T) {
	t.Parallel()
	from := start(t, config(t.TempDir(), ""))
	propose(t, from, put("k", "v"))
	data := snapshotOf(t, from)
	n := open(t, config(t.TempDir(), ""))
	if err := n.FoundFrom(t.Context(), bytes.NewReader(data[:len(data)-1])); !errors.Is(err, fsm.ErrSnapshot) {
		t.Fatal(err)
	}
	if founded, err := n.Bootstrapped(); err != nil || founded {
		t.Fatalf("founded by half a snapshot: %v, %v", founded, err)
	}
	if err := n.FoundFrom(within(t, patience), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if got := peek(t, n, "k"); got != "v" {
		t.Errorf("read %q", got)
	}
	if err := n.FoundFrom(t.Context(), bytes.NewReader(data)); !errors.Is(err, cluster.ErrBootstrapped) {
		t.Errorf("founded again: %v", err)
	}
}

// TestRestoreRefuses: what is not a whole snapshot of this cluster changes
// nothing, whoever sends it and however slowly.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir(), "")
	c.ClusterID = []byte("one")
	n := start(t, c)
	propose(t, n, put("k", "v"))
	data := snapshotOf(t, n)
	index := propose(t, n, put("k", "w")).Index
	flipped := slices.Clone(data)
	flipped[len(flipped)/2] ^= 1
	foreign := bytes.Replace(data, []byte("one"), []byte("two"), 1)
	cut := errors.New("cut off")
	for name, test := range map[string]struct {
		r    io.Reader
		want error
	}{
		"empty":     {bytes.NewReader(nil), fsm.ErrSnapshot},
		"text":      {bytes.NewReader([]byte("not a snapshot, but longer than the header of one")), fsm.ErrSnapshot},
		"truncated": {bytes.NewReader(data[:len(data)-1]), fsm.ErrSnapshot},
		"flipped":   {bytes.NewReader(flipped), fsm.ErrSnapshot},
		"longer":    {bytes.NewReader(append(slices.Clone(data), 0)), fsm.ErrSnapshot},
		"foreign":   {bytes.NewReader(foreign), cluster.ErrForeignSnapshot},
		"cut off":   {io.MultiReader(bytes.NewReader(data[:len(data)/2]), iotest.ErrReader(cut)), cut},
	} {
		if err := n.RestoreSnapshot(t.Context(), test.r); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if v := read(t, n); value(t, v, "k") != "w" || v.Index() != index {
			t.Errorf("%s: the state is another: at %d, was at %d", name, v.Index(), index)
		}
	}
}

// TestRestoreReachesFollowers restores into a cluster while it is written to.
func TestRestoreReachesFollowers(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3, nil)
	w.propose(put("k", "old"))
	data := snapshotOf(t, w.leader())
	w.propose(put("k", "new"))
	w.onLeader(func(n *cluster.Node) error { return n.RestoreSnapshot(t.Context(), bytes.NewReader(data)) })
	index := w.propose(put("after", "x")).Index
	for id, n := range w.nodes {
		v := w.at(n, index)
		if value(t, v, "k") != "old" {
			t.Errorf("%s: %q", id, value(t, v, "k"))
		}
		v.Close()
		if n != w.leader() {
			if err := n.RestoreSnapshot(t.Context(), bytes.NewReader(data)); !errors.Is(err, cluster.ErrNotLeader) {
				t.Errorf("a follower restores: %v", err)
			}
		}
	}
	w.settled()
}

// TestProgress: a leader knows where the logs of others end.
func TestProgress(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3, nil)
	index := w.propose(put("k", "v")).Index
	w.settled()
	leader := w.leader()
	for _, m := range leader.Members() {
		if m.ID == w.idOf(leader) {
			continue
		}
		// A heartbeat later it is known.
		for range 100 {
			at, silent, ok := leader.Progress(m.ID)
			if ok && at >= index && silent < patience {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
		if at, _, ok := leader.Progress(m.ID); !ok || at < index {
			t.Errorf("%s is at %d, %v; want %d", m.ID, at, ok, index)
		}
	}
	if _, _, ok := leader.Progress("nobody"); ok {
		t.Error("progress of nobody")
	}
	follower := leader.Members()[1].ID
	if follower == w.idOf(leader) {
		follower = leader.Members()[0].ID
	}
	w.onLeader(func(n *cluster.Node) error { return n.Demote(within(t, patience), follower) })
	for _, m := range w.leader().Members() {
		if m.ID == follower && m.Voter {
			t.Error("a demoted node votes")
		}
	}
}
