package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// identified is a write that may be proposed again.
func identified(n *cluster.Node, key, value string) *fsmpb.Command {
	cmd := put(key, value)
	cmd.RequestId = requestID(n.Now())
	return cmd
}

// TestReplication writes while followers come and go: one returns by the log,
// one, whose log is cut meanwhile, by a snapshot. All end in the same state.
func TestReplication(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3, func(c *cluster.Config) { c.TrailingLogs = 5 })
	write := func(from, to int) {
		for i := from; i < to; i++ {
			if r := w.propose(identified(w.leader(), key(i), "v")); r.Code != fsm.OK && r.Code != fsm.Duplicate {
				t.Fatalf("%d: %+v", i, r)
			}
		}
	}
	write(0, 20)
	w.settled()
	behind := ""
	for id, n := range w.nodes {
		if n != w.leader() {
			behind = id
		}
	}
	w.stop(behind)
	write(20, 25)
	w.start(behind)
	w.settled()
	w.stop(behind)
	write(25, 80)
	w.onLeader(func(n *cluster.Node) error { return n.ForceSnapshot(within(t, patience)) })
	write(80, 85)
	w.start(behind)
	w.settled()
	v := w.nodes[behind].Local()
	defer v.Close()
	for i := range 85 {
		if value(t, v, key(i)) != "v" {
			t.Fatalf("%s is not on %s", key(i), behind)
		}
	}
}

// TestDeposedLeader cuts the leader off: what it is asked meanwhile it neither
// answers from the past nor acknowledges, its lead ends, and what it could not
// commit is gone when it is back.
func TestDeposedLeader(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3, nil)
	old := w.leader()
	id := w.idOf(old)
	ctx, term, err := old.LeadContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.propose(identified(old, "k", "before"))
	w.settled() // a node votes for none that it has not been told of
	w.isolate(id, true)
	doubtful, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r, err := old.Propose(doubtful, put("k", "lost")); err == nil {
		t.Errorf("a leader without peers acknowledged %+v", r)
	}
	if v, err := old.Read(within(t, patience)); err == nil {
		t.Errorf("a leader without peers read %q", value(t, v, "k"))
		v.Close()
	} else if !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("read: %v", err)
	}
	select {
	case <-ctx.Done():
		if !errors.Is(context.Cause(ctx), cluster.ErrNotLeader) {
			t.Errorf("the lead ended with %v", context.Cause(ctx))
		}
	case <-time.After(patience):
		t.Fatal("the lead did not end")
	}
	next := w.leader()
	if s := next.Status(); s.Term <= term {
		t.Errorf("term %d after %d", s.Term, term)
	}
	w.propose(identified(next, "k", "after"))
	w.isolate(id, false)
	w.settled()
	v := old.Local()
	defer v.Close()
	if got := value(t, v, "k"); got != "after" {
		t.Errorf("the deposed leader has %q", got)
	}
}

// TestMembership adds a node that only listens, makes it a voter, and removes
// the leader after it has stepped down.
func TestMembership(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2, nil)
	w.start("c")
	w.onLeader(func(n *cluster.Node) error { return n.AddNonvoter(within(t, patience), "c", "c") })
	w.propose(identified(w.leader(), "k", "v"))
	w.settled()
	for _, m := range w.leader().Members() {
		if m.Voter != (m.ID != "c") {
			t.Errorf("%+v", m)
		}
	}
	w.onLeader(func(n *cluster.Node) error { return n.AddVoter(within(t, patience), "c", "c") })
	old := w.leader()
	id := w.idOf(old)
	if err := old.StepDown(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := old.StepDown(t.Context()); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("step down twice: %v", err)
	}
	w.onLeader(func(n *cluster.Node) error { return n.Remove(within(t, patience), id) })
	w.stop(id)
	w.propose(identified(w.leader(), "k", "w"))
	w.settled()
	if members := w.leader().Members(); len(members) != 2 {
		t.Errorf("%+v", members)
	}
}

// TestVoterAddedAsTheLeaderDies kills the leader as soon as a voter that has no log
// yet is one: the others cannot elect one of them without its vote, and have all that
// was acknowledged.
func TestVoterAddedAsTheLeaderDies(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]int{"of three nodes": 3, "of five nodes, and another with it": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newNetwork(t, lost, nil)
			for i := range 50 {
				w.propose(identified(w.leader(), key(i), "v"))
			}
			w.settled()
			w.start("new")
			w.onLeader(func(n *cluster.Node) error { return n.AddVoter(within(t, patience), "new", "new") })
			w.stop(w.idOf(w.leader()))
			for extra := lost; extra > 3; extra -= 2 { // as many as may be lost
				w.stop(w.aFollower("new"))
			}
			w.propose(identified(w.leader(), "k", "after"))
			w.settled()
			v := w.nodes["new"].Local()
			defer v.Close()
			for i := range 50 {
				if value(t, v, key(i)) != "v" {
					t.Fatalf("the newcomer does not have %s", key(i))
				}
			}
			if value(t, v, "k") != "after" {
				t.Error("the newcomer does not have what was written without the old leader")
			}
		})
	}
}

// aFollower is a node that does not lead and has another id.
func (w *network) aFollower(not string) string {
	leader := w.leader()
	for id, n := range w.nodes {
		if n != leader && id != not {
			return id
		}
	}
	w.t.Fatal("no follower")
	return ""
}
