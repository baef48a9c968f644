package harness_test

import (
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/testing/harness"
)

// TestRootKeyIsFollowed replaces the key shares by way of a follower and then
// rotates the keyring, on each node in turn as it leads: the others go on, and can
// do so too, without being unsealed anew.
func TestRootKeyIsFollowed(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.Options{})
	c.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv"})
	for i := range int64(3) {
		leader := c.Leader()
		follower := c.Followers(leader)[0]
		begun := follower.Root(http.MethodPut, "sys/rekey/init", map[string]any{"secret_shares": 1, "secret_threshold": 1, "require_verification": false})
		made := follower.Root(http.MethodPut, "sys/rekey/update", map[string]any{"key": leader.Keys[0], "nonce": begun["nonce"]})
		list, ok := made["keys_base64"].([]any)
		if !ok || len(list) != 1 {
			t.Fatal("the rekey made no share")
		}
		for _, n := range c.Nodes {
			n.Keys = []string{list[0].(string)}
		}
		// Whoever has not got the root key yet cannot open what is written next.
		leader.Root(http.MethodPut, "sys/rotate", nil)
		leader.Root(http.MethodPut, "kv/a", map[string]int64{"n": i})
		for _, n := range c.Nodes {
			c.Await("a node to follow the root key", func() bool { return value(n, "kv/a") == i })
		}
		leader.Root(http.MethodPut, "sys/step-down", nil)
		c.Await("another leader", func() bool { return c.Leader() != leader })
	}
	last := c.Nodes[0]
	last.Kill()
	last.Restart()
	c.Unseal(last)
	if got := value(last, "kv/a"); got != 2 {
		t.Errorf("read %d after unsealing with the last share", got)
	}
}
