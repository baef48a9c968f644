package members_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/core/joining"
	"github.com/coffer-secrets/coffer/core/members"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// scene is a leader, "a", with other members that are only said to be there.
type scene struct {
	t     *testing.T
	clock *kit.Clock
	store *state.Store
	pilot *members.Pilot

	mu     sync.Mutex
	status members.Status
	silent map[string]time.Duration
	behind map[string]uint64
	did    []string
	fail   error
}

func newScene(t *testing.T, others ...members.Member) *scene {
	t.Helper()
	s := &scene{t: t, clock: kit.NewClock(), silent: make(map[string]time.Duration), behind: make(map[string]uint64)}
	n, err := cluster.Open(cluster.Config{Dir: t.TempDir(), NodeID: "a", Clock: s.clock, ElectionTimeout: 50 * time.Millisecond, TickInterval: -1, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	if _, _, err := n.LeadContext(ctx); err != nil {
		t.Fatal(err)
	}
	keyring, err := seal.NewKeyring(seedless{}, n.Now())
	if err != nil {
		t.Fatal(err)
	}
	barrier, err := seal.NewBarrier(keyring)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(barrier.Close)
	s.store = state.New(n, barrier)
	s.status = members.Status{Leads: true, Term: 2, Index: 5000, Members: append([]members.Member{{ID: "a", Leader: true, Voter: true, Self: true}}, others...)}
	s.pilot = members.NewPilot(members.Deps{
		Store: s.store, Cluster: s, Log: func(string, string) {},
		Status: func() members.Status {
			s.mu.Lock()
			defer s.mu.Unlock()
			out := s.status
			out.Members = slices.Clone(out.Members)
			return out
		},
	})
	return s
}

// seedless fills keys with what no test looks at.
type seedless struct{}

func (seedless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i*7 + 3)
	}
	return len(p), nil
}

func (s *scene) do(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, what)
	return s.fail
}

func (s *scene) AddNonvoter(_ context.Context, id, _ string) error { return s.do("add " + id) }
func (s *scene) AddVoter(_ context.Context, id, _ string) error    { return s.do("vote " + id) }
func (s *scene) Demote(_ context.Context, id string) error         { return s.do("demote " + id) }
func (s *scene) Remove(_ context.Context, id string) error         { return s.do("remove " + id) }
func (*scene) RestoreSnapshot(context.Context, io.Reader) error    { return errors.ErrUnsupported }
func (*scene) FoundFrom(context.Context, io.Reader) error          { return errors.ErrUnsupported }

func (s *scene) Progress(id string) (uint64, time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	silent, ok := s.silent[id]
	return s.status.Index - s.behind[id], silent, ok
}

// pass lets time pass, in which members are as they are, and returns what the
// pilot did.
func (s *scene) pass(d time.Duration) string {
	s.t.Helper()
	s.clock.Advance(d)
	s.mu.Lock()
	s.did = nil
	s.mu.Unlock()
	if err := s.pilot.Tick(s.t.Context()); err != nil && s.fail == nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.did, ", ")
}

func (s *scene) hear(id string, silent time.Duration, behind uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent[id], s.behind[id] = silent, behind
}

func (s *scene) want(got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("the pilot did %q, want %q", got, want)
	}
}

func TestStableNewcomersVote(t *testing.T) {
	t.Parallel()
	s := newScene(t, members.Member{ID: "b"}, members.Member{ID: "c"})
	s.want(s.pass(time.Minute), "") // nobody has answered yet
	s.hear("b", time.Second, 10)
	s.hear("c", time.Second, 2000) // far behind
	s.want(s.pass(time.Second), "")
	s.want(s.pass(9*time.Second), "")
	s.want(s.pass(time.Second), "vote b")
	s.hear("b", 11*time.Second, 0)
	s.want(s.pass(time.Second), "")
	s.hear("b", time.Second, 0) // it begins anew
	s.want(s.pass(time.Second), "")
	s.want(s.pass(9*time.Second), "")
	s.want(s.pass(time.Second), "vote b")
	// A new term begins anew too: what was heard may be old.
	s.mu.Lock()
	s.status.Term++
	s.mu.Unlock()
	s.want(s.pass(time.Second), "")
}

func TestWhoIsNotToVoteDoesNot(t *testing.T) {
	t.Parallel()
	s := newScene(t, members.Member{ID: "b"})
	if _, err := s.store.Update(t.Context(), func(tx *state.Tx) error { return joining.Choose(tx, "b", true) }); err != nil {
		t.Fatal(err)
	}
	s.hear("b", 0, 0)
	s.pass(time.Second)
	s.want(s.pass(time.Hour), "")
	s.mu.Lock()
	s.status.Leads = false
	s.mu.Unlock()
	if _, err := s.store.Update(t.Context(), func(tx *state.Tx) error { return joining.Choose(tx, "b", false) }); err != nil {
		t.Fatal(err)
	}
	s.want(s.pass(time.Hour), "") // it does not lead
}

// TestTheDeadAreRemoved only if that was asked for and enough are left.
func TestTheDeadAreRemoved(t *testing.T) {
	t.Parallel()
	voter := func(id string) members.Member { return members.Member{ID: id, Voter: true} }
	s := newScene(t, voter("b"), voter("c"), voter("d"), voter("e"))
	for _, id := range []string{"b", "c", "d", "e"} {
		s.hear(id, 0, 0)
	}
	s.pass(time.Second)
	s.hear("e", 25*time.Hour, 0)
	s.pass(time.Second)
	s.want(s.pass(25*time.Hour), "") // nobody asked for it
	s.configure(`{"cleanup_dead_servers":true,"min_quorum":4}`)
	s.hear("e", 50*time.Hour, 0)
	s.want(s.pass(time.Second), "remove e")
	s.configure(`{"cleanup_dead_servers":true,"min_quorum":5}`)
	s.want(s.pass(time.Second), "") // too few would be left
	s.configure(`{"cleanup_dead_servers":true,"min_quorum":3}`)
	for _, id := range []string{"b", "c"} {
		s.hear(id, 50*time.Hour, 0)
	}
	s.want(s.pass(time.Second), "") // no quorum is healthy
	s.hear("b", 0, 0)
	s.want(s.pass(time.Second), "remove e")
	s.fail = errors.New("not now")
	s.want(s.pass(time.Second), "remove e")
}

// configure stores a configuration as the route does.
func (s *scene) configure(text string) {
	s.t.Helper()
	const defaults = `"dead_server_last_contact_threshold":86400000000000,"last_contact_threshold":10000000000,"max_trailing_logs":1000,"server_stabilization_time":10000000000}`
	_, err := s.store.Update(s.t.Context(), func(tx *state.Tx) error {
		return tx.Put(state.Key(state.Config, state.RootNamespace, []byte("autopilot")), []byte(strings.TrimSuffix(text, "}")+","+defaults), state.PutOptions{})
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestRoutes on a cluster of one.
func TestRoutes(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	config := s.Get("sys/storage/raft/autopilot/configuration")
	for name, want := range map[string]any{
		"cleanup_dead_servers": false, "dead_server_last_contact_threshold": "24h0m0s", "last_contact_threshold": "10s",
		"server_stabilization_time": "10s", "disable_upgrade_migration": false,
	} {
		if got := config.At("data", name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	s.Put("sys/storage/raft/autopilot/configuration", map[string]any{"max_trailing_logs": 5, "last_contact_threshold": "3s", "min_quorum": 3, "cleanup_dead_servers": true})
	if got := s.Get("sys/storage/raft/autopilot/configuration").Text("data", "last_contact_threshold"); got != "3s" {
		t.Errorf("%q", got)
	}
	for name, body := range map[string]map[string]any{
		"min_quorum must be set": {"min_quorum": 2}, "should not be less": {"dead_server_last_contact_threshold": "1s"},
		"above zero": {"last_contact_threshold": 0}, "negative": {"max_trailing_logs": -1}, "between 0": {"min_quorum": 5000},
	} {
		r := s.Do(kit.Request{Method: http.MethodPut, Path: "sys/storage/raft/autopilot/configuration", Body: body})
		if r.Status != http.StatusBadRequest || !strings.Contains(string(r.Raw), name) {
			t.Errorf("%v: %d %s", body, r.Status, r.Raw)
		}
	}
	for path, text := range map[string]string{
		"remove-peer": "only member that votes", "demote": "only member that votes", "bootstrap": "part of every node",
	} {
		r := s.Do(kit.Request{Method: http.MethodPut, Path: "sys/storage/raft/" + path, Body: map[string]any{"server_id": "node"}})
		if r.Status != http.StatusBadRequest || !strings.Contains(string(r.Raw), text) {
			t.Errorf("%s: %d %s", path, r.Status, r.Raw)
		}
	}
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/storage/raft/promote"})
	health := s.Get("sys/storage/raft/autopilot/state")
	if health.At("data", "healthy") != true || health.Text("data", "servers", "node", "status") != "leader" {
		t.Errorf("%s", health.Raw)
	}
	for _, path := range []string{"configuration", "autopilot/state", "autopilot/configuration"} {
		s.Must(http.StatusForbidden, kit.Request{Path: "sys/storage/raft/" + path, Token: s.Login("default")})
	}
}

// TestStateTellsWhatMembersRun tells the version that a member says it runs, rather
// than the one it has joined with.
func TestStateTellsWhatMembersRun(t *testing.T) {
	t.Parallel()
	s := newScene(t, members.Member{ID: "b", Version: "2.0"}, members.Member{ID: "c"})
	var report *engines.Response
	for _, route := range s.pilot.Routes() {
		if !strings.HasSuffix(route.Pattern, "autopilot/state") {
			continue
		}
		if _, err := s.store.Update(t.Context(), func(tx *state.Tx) (err error) {
			report, err = route.Ops[0].Handler(t.Context(), nil, tx.Region(nil))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	servers := report.Data.(map[string]any)["servers"].(map[string]any)
	for id, want := range map[string]string{"b": "2.0", "c": ""} {
		if got := servers[id].(map[string]any)["version"]; got != want {
			t.Errorf("%s runs %q, want %q", id, got, want)
		}
	}
}
