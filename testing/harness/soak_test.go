package harness_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
)

var soak = flag.Duration("soak", 3*time.Second, "how long to load three nodes; make soak does it for ten minutes")

// soakers are the connections to each node, one in four of which writes.
const soakers = 42

// TestFullLoadCausesNoElection loads all nodes at once, as much as they take, and
// counts the elections: there is none as long as every node gets to run.
func TestFullLoadCausesNoElection(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.Options{})
	c.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv"})
	before := elections(t, c)
	var reads, writes, failed atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for n, node := range c.Nodes {
		for i := range soakers {
			wg.Go(func() {
				for round := 0; time.Since(began) < *soak; round++ {
					path := fmt.Sprintf("kv/%d/%d/%d", n, i, round%100)
					method, want, done := http.MethodPut, http.StatusNoContent, &writes
					if i%4 != 0 {
						path = fmt.Sprintf("kv/%d/0/0", n)
						method, want, done = http.MethodGet, http.StatusOK, &reads
					}
					status, _ := node.Do(method, path, node.RootToken, map[string]int{"n": round})
					if status != want && (method != http.MethodGet || status != http.StatusNotFound) { // not written yet
						failed.Add(1)
						continue
					}
					done.Add(1)
				}
			})
		}
	}
	wg.Wait()
	seconds := time.Since(began).Seconds()
	seen := elections(t, c) - before
	t.Logf("%.0f s, %d connections: %.0f reads and %.0f writes a second, %d failed, elections: %d",
		seconds, soakers*len(c.Nodes), float64(reads.Load())/seconds, float64(writes.Load())/seconds, failed.Load(), seen)
	if failed.Load() > 0 {
		t.Errorf("%d requests failed", failed.Load())
	}
	if seen > 0 && *soak >= time.Minute { // beside other tests, a node may not get to run
		t.Errorf("%d elections under load", seen)
	}
}

// elections counts those that nodes say in their logs they have begun.
func elections(t *testing.T, c *harness.Cluster) (n int) {
	t.Helper()
	for _, node := range c.Nodes {
		text, err := os.ReadFile(node.LogPath())
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(text, []byte(`msg="entering candidate state"`))
	}
	return n
}
