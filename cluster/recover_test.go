package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/cluster"
)

// TestQuorumLost: one of three nodes goes on alone when it is told to, with all
// that was acknowledged, and others can be added.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3, nil)
	w.propose(put("k", "v"))
	w.settled()
	for _, id := range []string{"a", "b", "c"} {
		w.stop(id)
	}
	peers := filepath.Join(w.dir, "a", cluster.PeersFile)
	if err := os.WriteFile(peers, []byte(`[{"id":"a","address":"a"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	n := w.start("a")
	if _, err := os.Stat(peers); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if got := peek(t, w.leader(), "k"); got != "v" {
		t.Errorf("read %q", got)
	}
	if members := n.Members(); len(members) != 1 || members[0].ID != "a" {
		t.Errorf("%v", members)
	}
	w.propose(put("k", "w"))
	w.start("d")
	w.onLeader(func(n *cluster.Node) error { return n.AddVoter(within(t, patience), "d", "d") })
	w.settled()
}

func TestPeersFile(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		c := config(t.TempDir(), logStore)
		n := start(t, c)
		propose(t, n, put("k", "v"))
		closeNode(t, n)
		peers := filepath.Join(c.Dir, cluster.PeersFile)
		for text, want := range map[string]string{
			"":                             "EOF",
			"[]":                           "at least one voter",
			`[{"id":"b","address":"b"}]`:   "does not name this node",
			`[{"id":"a","address":"a"},{}`: "EOF",
			`[{"id":"a","address":"a"},{"id":"a","address":"b"}]`: "duplicate",
		} {
			if err := os.WriteFile(peers, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := cluster.Open(c); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", text, err)
			}
		}
		for range 2 { // the second time with an empty log
			if err := os.WriteFile(peers, []byte(`[{"id":"a","address":"a"}]`), 0o600); err != nil {
				t.Fatal(err)
			}
			n = start(t, c)
			if got := peek(t, n, "k"); got != "v" {
				t.Errorf("read %q", got)
			}
			closeNode(t, n)
		}
		n = start(t, c)
		propose(t, n, put("k", "w"))
		if got := peek(t, n, "k"); got != "w" {
			t.Errorf("read %q", got)
		}
	})
}
