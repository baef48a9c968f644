package harness_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
)

// TestOneUnsealedNodeServes restarts all nodes, so that all are sealed, and unseals
// one after the other alone: whichever sealed node leads hands that on, and what is
// sealed still votes.
func TestOneUnsealedNodeServes(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.Options{})
	c.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv"})
	for i, n := range c.Nodes {
		for _, other := range c.Nodes {
			other.Kill()
		}
		for _, other := range c.Nodes {
			other.Restart()
		}
		c.Unseal(n)
		began := time.Now()
		want := int64(i + 1)
		status, answer := n.Do(http.MethodPut, "kv/a", n.RootToken, map[string]int64{"n": want})
		if status != http.StatusNoContent {
			t.Fatalf("write through the only unsealed node: status %d: %s", status, answer)
		}
		t.Logf("served %s after it was unsealed", time.Since(began).Round(time.Millisecond))
		if got := value(n, "kv/a"); got != want {
			t.Errorf("read %d, want %d", got, want)
		}
	}
}
