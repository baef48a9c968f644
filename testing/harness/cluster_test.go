package harness_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
)

// kills is how often the leader is killed.
var kills = flag.Int("kills", 1, "how often to kill the leader; make failover does it 20 times")

// TestLeaderKilled kills the leader again and again, while clients of each
// other node write counters. Every write is answered with success, each is
// there at the end, and nobody reads an older value than was acknowledged.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.Options{})
	c.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv"})
	var pauses []time.Duration
	for round := range *kills {
		leader := c.Leader()
		var stop atomic.Bool
		var wg sync.WaitGroup
		writes, firsts := make([]atomic.Int64, 2), make([]acks, 2)
		for i, n := range c.Followers(leader) {
			wg.Go(func() { count(t, n, fmt.Sprintf("kv/%d/%d", round, i), &stop, &writes[i], &firsts[i]) })
		}
		reached := func(more int64) func() bool {
			from := []int64{writes[0].Load(), writes[1].Load()}
			return func() bool { return writes[0].Load() >= from[0]+more && writes[1].Load() >= from[1]+more }
		}
		c.Await("writes before the leader is killed", reached(20))
		began := time.Now()
		leader.Kill()
		c.Await("writes after the leader was killed", reached(20))
		stop.Store(true)
		wg.Wait()
		for i := range firsts {
			pauses = append(pauses, firsts[i].after(began))
		}
		leader.Restart()
		c.Unseal(leader)
		for _, n := range c.Nodes {
			for i := range writes {
				if got := value(n, fmt.Sprintf("kv/%d/%d", round, i)); got != writes[i].Load() {
					t.Errorf("%s reads %d, want %d", n.Address, got, writes[i].Load())
				}
			}
		}
	}
	slices.Sort(pauses)
	t.Logf("from the kill to the next acknowledged write of each of two clients, %d kills: median %s, worst %s",
		*kills, pauses[len(pauses)/2].Round(time.Millisecond), pauses[len(pauses)-1].Round(time.Millisecond))
}

// TestRollingRestart stops and starts each node in turn, and moves leadership in
// between, under writes by way of the others: none of these fails.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.Options{})
	c.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv"})
	for round, n := range c.Nodes {
		var stop atomic.Bool
		var wg sync.WaitGroup
		others := c.Followers(n)
		writes, times := make([]atomic.Int64, len(others)), make([]acks, len(others))
		for i, other := range others {
			wg.Go(func() { count(t, other, fmt.Sprintf("kv/%d/%d", round, i), &stop, &writes[i], &times[i]) })
		}
		more := func() {
			from := []int64{writes[0].Load(), writes[1].Load()}
			c.Await("writes", func() bool {
				return t.Failed() || writes[0].Load() >= from[0]+10 && writes[1].Load() >= from[1]+10
			})
		}
		more()
		if err := n.Stop(); err != nil {
			t.Errorf("stopped with %v", err)
		}
		more()
		n.Restart()
		c.Unseal(n)
		more()
		if status, answer := others[0].Do(http.MethodPut, "sys/step-down", others[0].RootToken, nil); status != http.StatusNoContent {
			t.Errorf("step down: status %d: %s", status, answer)
		}
		more()
		stop.Store(true)
		wg.Wait()
	}
}

// TestLeaderKilledAsANodeBeginsToVote kills the leader of three nodes, of which one
// has just been given its vote: the two that stay go on, and no write fails by way of
// the one that is there from the beginning, whichever led.
func TestLeaderKilledAsANodeBeginsToVote(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.Options{})
	c.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv"})
	leader := c.Leader()
	stays := c.Followers(leader)[0]
	var stop atomic.Bool
	var wg sync.WaitGroup
	var written atomic.Int64
	times := new(acks)
	wg.Go(func() { count(t, stays, "kv/a", &stop, &written, times) })
	newcomer := c.Add()
	c.Await("the newcomer to vote", func() bool { return c.Voters() == 3 })
	leader.Kill()
	before := written.Load()
	c.Await("writes without the leader", func() bool { return t.Failed() || written.Load() >= before+20 })
	stop.Store(true)
	wg.Wait()
	if got := value(newcomer, "kv/a"); got != written.Load() {
		t.Errorf("the newcomer reads %d, want %d", got, written.Load())
	}
	leader.Restart()
	c.Unseal(leader)
	if got := value(leader, "kv/a"); got != written.Load() {
		t.Errorf("the leader of before reads %d, want %d", got, written.Load())
	}
}

// acks are when writes were acknowledged.
type acks []time.Time

// after is how long after a moment the first write was acknowledged that began
// after it.
func (a acks) after(began time.Time) time.Duration {
	for i := 1; i < len(a); i++ {
		if a[i-1].After(began) { // the one before may have been on its way back
			return a[i].Sub(began)
		}
	}
	return 0
}

// count writes 1, 2, 3 and so on by way of one node, and reads each back there.
func count(t *testing.T, n *harness.Server, path string, stop *atomic.Bool, written *atomic.Int64, times *acks) {
	t.Helper()
	for i := int64(1); !stop.Load(); i++ {
		if status, answer := n.Do(http.MethodPut, path, n.RootToken, map[string]int64{"n": i}); status != http.StatusNoContent {
			t.Errorf("write %d of %s: status %d: %s", i, path, status, answer)
			return
		}
		*times = append(*times, time.Now())
		if got := value(n, path); got != i {
			t.Errorf("read %d of %s after %d was acknowledged", got, path, i)
			return
		}
		written.Store(i)
	}
}

func value(n *harness.Server, path string) int64 {
	status, answer := n.Do(http.MethodGet, path, n.RootToken, nil)
	var out struct {
		Data struct {
			N int64 `json:"n"`
		} `json:"data"`
	}
	if status != http.StatusOK || json.Unmarshal(answer, &out) != nil {
		return -1
	}
	return out.Data.N
}
