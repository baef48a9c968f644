package harness_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/harness"
)

// TestCatchUpBySnapshot has a follower be away while the log is cut behind what it
// has, and be killed again and again while it receives a snapshot: it starts each time,
// and comes to the state of the others.
func TestCatchUpBySnapshot(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.Options{Storage: "snapshot_threshold = 20\nsnapshot_interval = \"1s\"\ntrailing_logs = 10"})
	c.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv"})
	leader := c.Leader()
	behind := c.Followers(leader)[0]
	big := strings.Repeat("x", 64<<10)
	for round := range 3 {
		behind.Kill()
		before := snapshots(t, leader)
		for i := range 60 {
			leader.Root(http.MethodPut, fmt.Sprintf("kv/%d/%d", round, i), map[string]any{"n": i, "big": big})
		}
		c.Await("the log to be cut", func() bool { return snapshots(t, leader) != before })
		for range round {
			before = snapshots(t, behind)
			behind.Restart()
			c.Await("a snapshot to arrive", func() bool { return snapshots(t, behind) != before })
			behind.Kill()
		}
		behind.Restart()
		c.Unseal(behind)
		if got := value(behind, fmt.Sprintf("kv/%d/59", round)); got != 59 {
			t.Errorf("round %d: read %d after it came back", round, got)
		}
	}
}

// snapshots are the names in a node's folder of snapshots, also of those that are
// under way.
func snapshots(t *testing.T, n *harness.Server) string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(n.DataDir(), "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return strings.Join(names, " ")
}
