package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// node is the configuration of a node with an id.
func node(dir, id, storage, rest string) string {
	return fmt.Sprintf("storage \"raft\" {\n path = %q\n node_id = %q\n%s\n}\n%s%s", filepath.Join(dir, "data"), id, storage, plain, rest)
}

// until waits for what happens by itself.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// members are the ids of a cluster's members; voters are marked by a star.
func (r *running) members(token string) string {
	r.t.Helper()
	config, _ := r.ok(http.MethodGet, "sys/storage/raft/configuration", token, nil)["data"].(map[string]any)["config"].(map[string]any)
	servers, _ := config["servers"].([]any)
	var list []string
	for _, s := range servers {
		member, _ := s.(map[string]any)
		text, _ := member["node_id"].(string)
		if member["voter"] == true {
			text += "*"
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// founder starts the first node of a cluster, whose newcomers vote soon.
func founder(t *testing.T, shares, threshold int) (*running, keys) {
	t.Helper()
	r := start(t, node(t.TempDir(), "a", "", ""))
	k := r.init(map[string]int{"secret_shares": shares, "secret_threshold": threshold})
	r.unseal(k, threshold)
	r.ok(http.MethodPost, "sys/storage/raft/autopilot/configuration", k.RootToken, map[string]any{"server_stabilization_time": "0s"})
	return r, k
}

func TestThreeNodesJoin(t *testing.T) {
	t.Parallel()
	a, k := founder(t, 3, 2)
	a.putSecret(k.RootToken, "one")
	// One is told to by its configuration, the other over the API, through a
	// node that does not lead.
	b := start(t, node(t.TempDir(), "b", fmt.Sprintf("retry_join {\n leader_api_addr = \"http://127.0.0.1:1\"\n}\nretry_join {\n leader_api_addr = %q\n}", a.base), ""))
	until(t, "the invitation", func() bool { return b.ok(http.MethodGet, "sys/seal-status", "", nil)["initialized"] == true })
	b.unseal(k, 2)
	if state := b.ok(http.MethodGet, "sys/seal-status", "", nil); state["sealed"] != false || state["cluster_id"] == "" {
		t.Fatalf("the node has not joined: %v", state)
	}
	c := start(t, node(t.TempDir(), "c", "", ""))
	if got := c.ok(http.MethodPost, "sys/storage/raft/join", "", map[string]any{"leader_api_addr": b.base, "auto_join": "", "auto_join_port": 0}); got["joined"] != true {
		t.Fatalf("%v", got)
	}
	for _, key := range k.Keys[1:] {
		c.ok(http.MethodPut, "sys/unseal", "", map[string]string{"key": key})
	}
	until(t, "everybody to vote", func() bool { return a.members(k.RootToken) == "a* b* c*" })
	for _, r := range []*running{b, c} {
		r.wantSecret(k.RootToken, "one")
		r.wantStatus(http.StatusBadRequest, http.MethodPut, "sys/storage/raft/join", "")
		// A member is not initialised again.
		r.wantStatus(http.StatusBadRequest, http.MethodPut, "sys/init", "")
	}
	state, _ := a.ok(http.MethodGet, "sys/storage/raft/autopilot/state", k.RootToken, nil)["data"].(map[string]any)
	if state["healthy"] != true || fmt.Sprint(state["failure_tolerance"]) != "1" || state["leader"] != "a" {
		t.Errorf("autopilot: %v", state)
	}
	// A removed member is out, and its place is free.
	a.ok(http.MethodPost, "sys/storage/raft/remove-peer", k.RootToken, map[string]string{"server_id": "c"})
	if got := a.members(k.RootToken); got != "a* b*" {
		t.Errorf("members after one was removed: %s", got)
	}
	d := start(t, node(t.TempDir(), "c", "", ""))
	d.ok(http.MethodPost, "sys/storage/raft/join", "", map[string]any{"leader_api_addr": a.base, "non_voter": true})
	d.unseal(k, 2)
	if got := a.members(k.RootToken); got != "a* b* c" {
		t.Errorf("members after another came: %s", got)
	}
	d.wantSecret(k.RootToken, "one")
	a.ok(http.MethodPost, "sys/storage/raft/promote", k.RootToken, map[string]string{"server_id": "c"})
	a.ok(http.MethodPost, "sys/storage/raft/demote", k.RootToken, map[string]string{"server_id": "b"})
	if got := a.members(k.RootToken); got != "a* b c*" {
		t.Errorf("members: %s", got)
	}
	a.wantStatus(http.StatusBadRequest, http.MethodPost, "sys/storage/raft/remove-peer", k.RootToken)
	a.wantStatus(http.StatusBadRequest, http.MethodPost, "sys/storage/raft/bootstrap", k.RootToken)
	wantSame(t, k.RootToken, a, b, d)
}

// TestJoinWithASeal joins without shares.
func TestJoinWithASeal(t *testing.T) {
	t.Parallel()
	seal := "seal \"static\" {\n current_key_id = \"1\"\n current_key = \"" + strings.Repeat("ab", 32) + "\"\n}\n"
	a := start(t, node(t.TempDir(), "a", "", seal))
	k := a.init(map[string]int{"recovery_shares": 1, "recovery_threshold": 1})
	a.putSecret(k.RootToken, "one")
	b := start(t, node(t.TempDir(), "b", fmt.Sprintf("retry_join_as_non_voter = true\nretry_join {\n leader_api_addr = %q\n}", a.base), seal))
	until(t, "the newcomer to serve", func() bool { return b.ok(http.MethodGet, "sys/seal-status", "", nil)["sealed"] == false })
	b.wantSecret(k.RootToken, "one")
	if got := a.members(k.RootToken); got != "a* b" {
		t.Errorf("members: %s", got)
	}
	other := start(t, node(t.TempDir(), "c", "", ""))
	status, _, answer := other.do(http.MethodPost, "sys/storage/raft/join", "", map[string]any{"leader_api_addr": a.base})
	if status != http.StatusBadRequest || !strings.Contains(string(answer), "another type") {
		t.Errorf("joined with another seal: %d %s", status, answer)
	}
	wantSame(t, k.RootToken, a, b)
}

func TestJoinRefusals(t *testing.T) {
	t.Parallel()
	a, k := founder(t, 1, 1)
	taken := start(t, node(t.TempDir(), "a", "", ""))
	for text, body := range map[string]map[string]any{
		"leader_api_addr":  {"leader_api_addr": "10.0.0.1:8200"},
		"auto_join is not": {"auto_join": "provider=aws", "leader_api_addr": a.base},
		"go together":      {"leader_api_addr": a.base, "leader_client_cert": "x"},
		"leader_ca_cert":   {"leader_api_addr": a.base, "leader_ca_cert": "x"},
	} {
		status, _, answer := taken.do(http.MethodPost, "sys/storage/raft/join", "", body)
		if status != http.StatusBadRequest || !strings.Contains(string(answer), text) {
			t.Errorf("%s: %d %s", text, status, answer)
		}
	}
	taken.wantStatus(http.StatusServiceUnavailable, http.MethodPost, "sys/storage/raft/bootstrap/challenge", "")
	// The id of a member is not to be had, also with the right share.
	taken.ok(http.MethodPost, "sys/storage/raft/join", "", map[string]any{"leader_api_addr": a.base})
	status, _, answer := taken.do(http.MethodPut, "sys/unseal", "", map[string]string{"key": k.Keys[0]})
	if status == http.StatusOK || !strings.Contains(string(answer), "another key") {
		t.Errorf("took a member's place: %d %s", status, answer)
	}
	if got := a.members(k.RootToken); got != "a*" {
		t.Errorf("members: %s", got)
	}
	wrong := start(t, node(t.TempDir(), "w", "", ""))
	wrong.ok(http.MethodPost, "sys/storage/raft/join", "", map[string]any{"leader_api_addr": a.base})
	if status, _, answer := wrong.do(http.MethodPut, "sys/unseal", "", map[string]string{"key": strings.Repeat("ab", 33)}); status != http.StatusBadRequest {
		t.Errorf("unsealed with a wrong share: %d %s", status, answer)
	}
	nobody := start(t, node(t.TempDir(), "n", "", ""))
	nobody.wantStatus(http.StatusBadRequest, http.MethodPost, "sys/storage/raft/bootstrap/answer", "")
	if status, _, _ := nobody.do(http.MethodPost, "sys/storage/raft/join", "", map[string]any{"leader_api_addr": "http://127.0.0.1:1"}); status != http.StatusBadGateway {
		t.Errorf("nobody there: %d", status)
	}
}

// TestAMemberMoves: a node that comes back at another address tells the leader,
// also while it is sealed.
func TestAMemberMoves(t *testing.T) {
	t.Parallel()
	a, k := founder(t, 1, 1)
	text := node(t.TempDir(), "b", fmt.Sprintf("retry_join_as_non_voter = true\nretry_join {\n leader_api_addr = %q\n}", a.base), "")
	b := start(t, text)
	until(t, "the invitation", func() bool { return b.ok(http.MethodGet, "sys/seal-status", "", nil)["initialized"] == true })
	b.unseal(k, 1)
	address := func() string {
		config, _ := a.ok(http.MethodGet, "sys/storage/raft/configuration", k.RootToken, nil)["data"].(map[string]any)["config"].(map[string]any)
		servers, _ := config["servers"].([]any)
		for _, s := range servers {
			if member, _ := s.(map[string]any); member["node_id"] == "b" {
				at, _ := member["address"].(string)
				return at
			}
		}
		return ""
	}
	before := address()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b = start(t, text)
	until(t, "the new address", func() bool { return address() != before })
	a.putSecret(k.RootToken, "one")
	b.unseal(k, 1)
	until(t, "the node to follow", func() bool {
		_, _, answer := b.do(http.MethodGet, "secret/data/a", k.RootToken, nil)
		return strings.Contains(string(answer), `{"k":"one"}`)
	})
	wantSame(t, k.RootToken, a, b)
}

// TestJoinThatWasCutOff: a node that was admitted and then lost what it had
// received, but not its key, joins again as the same.
func TestJoinThatWasCutOff(t *testing.T) {
	t.Parallel()
	a, k := founder(t, 1, 1)
	dir := t.TempDir()
	text := node(dir, "b", fmt.Sprintf("retry_join_as_non_voter = true\nretry_join {\n leader_api_addr = %q\n}", a.base), "")
	for range 2 {
		a.putSecret(k.RootToken, "one")
		b := start(t, text)
		until(t, "the invitation", func() bool { return b.ok(http.MethodGet, "sys/seal-status", "", nil)["initialized"] == true })
		b.unseal(k, 1)
		b.wantSecret(k.RootToken, "one")
		wantSame(t, k.RootToken, a, b)
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"raft.db", "state", "snapshots"} {
			if err := os.RemoveAll(filepath.Join(dir, "data", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := a.members(k.RootToken); got != "a* b" {
		t.Errorf("members: %s", got)
	}
}
