package harness_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
)

// TestManyWritersOfOneSecret has clients of all nodes write versions of one secret as
// fast as they can: they take turns, and nobody is told that there were too many.
func TestManyWritersOfOneSecret(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.Options{})
	c.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	var written, refused atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for _, node := range c.Nodes {
		for range 40 {
			wg.Go(func() {
				for time.Since(began) < 3*time.Second {
					status, answer := node.Do(http.MethodPut, "kv/data/a", node.RootToken, map[string]any{"data": map[string]string{"k": "v"}})
					if status == http.StatusOK {
						written.Add(1)
					} else if refused.Add(1) == 1 {
						t.Logf("status %d: %s", status, answer)
					}
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d written, %d refused", written.Load(), refused.Load())
	if refused.Load() > 0 {
		t.Errorf("%d of %d writes were refused", refused.Load(), written.Load())
	}
}
