package trial_test

import (
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/trial"
)

// TestSelection runs a few faults of each kind, with seeds that stay the same.
// `make chaos` is the long way.
func TestSelection(t *testing.T) {
	if testing.Short() {
		t.Log("NOT TESTED HERE: real processes under faults take their time")
		return
	}
	for _, c := range []trial.Config{
		{Seed: 1, Nodes: 3, Duration: 30 * time.Second, Faults: "kill,pause,seal,leadership,snapshot,clock,crash", Works: "all"},
		{Seed: 2, Nodes: 3, Duration: 30 * time.Second, Faults: "partition,link,kill-leader,database,rot,strangers,audit", Works: "all"},
		{Seed: 3, Nodes: 3, Duration: 20 * time.Second, Faults: "partition,link,db-cut", Works: "all", Loopback: true},
	} {
		c.Clients, c.Out, c.Say = 3, t.TempDir(), func(text string) { t.Log(text) }
		// The other tests of a run want the processors too.
		c.HealWithin = 30 * time.Second
		r, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(r.Text())
		if len(r.Violations) > 0 {
			t.Errorf("seed %d: violations: %d", c.Seed, len(r.Violations))
		}
		for _, work := range []string{"register", "set", "token", "once", "policy", "database"} {
			if r.Operations[work] == nil || r.Operations[work].Done == 0 {
				t.Errorf("seed %d: nothing of %s was done", c.Seed, work)
			}
		}
	}
}

// TestConfig has runs refused that could not be meant.
func TestConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]trial.Config{
		"too few nodes":   {Nodes: 2, Clients: 1},
		"no clients":      {Nodes: 3},
		"an unknown work": {Nodes: 3, Clients: 1, Works: "register,nothing", Out: t.TempDir()},
	} {
		if _, err := trial.Run(t.Context(), c); err == nil {
			t.Errorf("%s: it is run", name)
		}
	}
}
