package sim_test

import (
	"flag"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/sim"
)

var (
	first = flag.Uint64("seed", 1, "the first seed")
	count = flag.Uint64("schedules", 40, "how many schedules")
)

func run(t *testing.T, s sim.Schedule) (*sim.Result, error) {
	t.Helper()
	var out *sim.Result
	var h *sim.History
	var err error
	bubble(t, func() { out, h, err = sim.Run(s) })
	if err != nil {
		return out, err
	}
	return out, h.Check()
}

func schedule(seed uint64) sim.Schedule {
	return sim.Schedule{Seed: seed, Nodes: 3 + 2*int(seed%2), Clients: 6, Duration: 10 * time.Second}
}

// TestSchedules runs schedules one after the other from a seed on.
func TestSchedules(t *testing.T) {
	if testing.Short() {
		*count = min(*count, 8)
	}
	operations, unknown, faults := 0, 0, 0
	for seed := *first; seed < *first+*count; seed++ {
		out, err := run(t, schedule(seed))
		if err != nil {
			t.Fatalf("seed %d: %v\n%+v", seed, err, out)
		}
		operations, unknown, faults = operations+out.Operations, unknown+out.Unknown, faults+len(out.Faults)
	}
	t.Logf("%d schedules: %d operations, %d of unknown outcome, %d faults", *count, operations, unknown, faults)
}

// TestBugs makes a mistake on purpose: some schedule must find it.
func TestBugs(t *testing.T) {
	t.Parallel()
	for name, bugs := range map[string]sim.Bugs{
		"reads without asking the leader": {LocalReads: true},
		"another request id for each try": {ForgetIDs: true},
		"entries that a crash forgets":    {ForgetLog: true},
		"an applied index of its own":     {IndexApart: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(200) {
				s := schedule(seed)
				s.Bugs = bugs
				if _, err := run(t, s); err != nil {
					t.Logf("found with seed %d: %v", seed, err)
					return
				}
			}
			t.Error("no schedule found it")
		})
	}
}

func runLeases(t *testing.T, s sim.Schedule) (*sim.Result, error) {
	t.Helper()
	var out *sim.Result
	var err error
	bubble(t, func() { out, err = sim.RunLeases(s) })
	return out, err
}

func leaseSchedule(seed uint64) sim.Schedule {
	return sim.Schedule{Seed: seed, Nodes: 3, Clients: 4, Duration: 90 * time.Second}
}

// TestLeases runs schedules in which users are made and removed.
func TestLeases(t *testing.T) {
	users, faults := 0, 0
	for seed := *first; seed < *first+max(1, *count/10); seed++ {
		out, err := runLeases(t, leaseSchedule(seed))
		if err != nil {
			t.Fatalf("seed %d: %v\n%+v", seed, err, out)
		}
		users, faults = users+out.Operations, faults+len(out.Faults)
	}
	t.Logf("%d users, %d faults", users, faults)
}

// TestDeposed: what a leader decides on while it is cut off counts for nothing, but
// where nothing fences it.
func TestDeposed(t *testing.T) {
	t.Parallel()
	for name, bugs := range map[string]sim.Bugs{"as it is": {}, "expiry without a term's fence": {NoFence: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var err error
			bubble(t, func() { err = sim.RunDeposed(bugs) })
			if bugs.NoFence != (err != nil) {
				t.Errorf("found: %v", err)
			}
			t.Log(err)
		})
	}
}

// TestLeaseBugs is TestBugs for what leases rest on.
func TestLeaseBugs(t *testing.T) {
	t.Parallel()
	for name, bugs := range map[string]sim.Bugs{
		"users made before their leases":         {CreateFirst: true},
		"a leader's own clock after it was down": {OwnTime: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(40) {
				s := leaseSchedule(seed)
				s.Bugs = bugs
				if _, err := runLeases(t, s); err != nil {
					t.Logf("found with seed %d: %v", seed, err)
					return
				}
			}
			t.Error("no schedule found it")
		})
	}
}
