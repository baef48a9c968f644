package tokens_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func scan(view *fsm.View, table byte, fn func()) error {
	return view.Scan([]byte{table}, []byte{table + 1}, func([]byte, fsm.Row) (bool, []byte, error) {
		fn()
		return true, nil, nil
	})
}

func TestCreateAnswersAsVault(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := create(t, s, s.Root, body{
		"policies": []string{"A", "maker", "a"}, "ttl": "1h", "meta": body{"k": "v"}, "display_name": "my name!", "num_uses": 7,
	})
	wantPolicies(t, r, "a", "default", "maker")
	for path, want := range map[string]any{
		"renewable": true, "orphan": false, "token_type": "service", "entity_id": "", "mfa_requirement": nil,
	} {
		if got := r.At("auth", path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if number(t, r.At("auth", "lease_duration")) != 3600 || number(t, r.At("auth", "num_uses")) != 7 || r.Text("auth", "metadata", "k") != "v" {
		t.Errorf("%s", r.Raw)
	}
	id := r.Text("auth", "client_token")
	if len(id) != 28 || r.Text("auth", "accessor") == "" || strings.Contains(id, r.Text("auth", "accessor")) {
		t.Errorf("token %q, accessor %q", id, r.Text("auth", "accessor"))
	}
	l := s.Put("auth/token/lookup", body{"token": id})
	for field, want := range map[string]any{
		"id": id, "accessor": r.Text("auth", "accessor"), "path": "auth/token/create", "display_name": "token-my-name",
		"orphan": false, "type": "service", "renewable": true, "entity_id": "",
	} {
		if got := l.At("data", field); got != want {
			t.Errorf("%s: %v, want %v", field, got, want)
		}
	}
	for _, field := range []string{"creation_time", "creation_ttl", "expire_time", "explicit_max_ttl", "issue_time", "meta", "num_uses", "policies", "ttl"} {
		if _, ok := l.At("data").(map[string]any)[field]; !ok {
			t.Errorf("lookup lacks %s", field)
		}
	}
}

func TestChildPolicies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bare := child(t, s, s.Root, body{"policies": []string{"maker", "a"}, "no_default_policy": true})
	wantPolicies(t, create(t, s, bare, nil), "a", "maker")
	wantPolicies(t, create(t, s, bare, body{"policies": "a"}), "a")
	refused(t, put(s, bare, "auth/token/create", body{"policies": "default"}), 400, "child policies must be subset of parent")
	full := child(t, s, s.Root, body{"policies": []string{"maker", "a"}})
	wantPolicies(t, create(t, s, full, nil), "a", "default", "maker")
	wantPolicies(t, create(t, s, full, body{"policies": "a"}), "a", "default")
	wantPolicies(t, create(t, s, full, body{"policies": "a", "no_default_policy": true}), "a")
	wantPolicies(t, create(t, s, full, body{"no_default_policy": true}), "a", "maker")
	refused(t, put(s, full, "auth/token/create", body{"policies": "boss"}), 400, "child policies must be subset of parent")
	refused(t, put(s, full, "auth/token/create", body{"policies": "root"}), 400, "child policies must be subset of parent")
	chief := child(t, s, s.Root, body{"policies": []string{"boss"}})
	wantPolicies(t, create(t, s, chief, body{"policies": "a"}), "a", "default")
	refused(t, put(s, chief, "auth/token/create", body{"policies": "root"}), 400, "root tokens may not be created without parent token being root")
	wantPolicies(t, create(t, s, s.Root, nil), "root")
	wantPolicies(t, create(t, s, s.Root, body{"policies": "root,a,default"}), "root")
	refused(t, put(s, s.Root, "auth/token/create", body{"policies": "response-wrapping"}), 400, "cannot assign policy")
	odd := child(t, s, s.Root, body{"policies": []string{"x//y", strings.Repeat("n", 900), ".."}})
	if !alive(s, odd) {
		t.Error("a token with names that no policy can have is of no use")
	}
}

func TestWhatNeedsSudo(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	chief := child(t, s, s.Root, body{"policies": "boss"})
	plain := child(t, s, s.Root, body{"policies": "maker"})
	s.Put("auth/token/roles/r", body{"allowed_policies": "a"})
	for text, b := range map[string]body{
		"root or sudo privileges required to create orphan token":   {"no_parent": true},
		"root or sudo privileges required to create periodic token": {"period": "1h"},
		"root or sudo privileges required to specify token id":      {"id": "mine"},
	} {
		refused(t, put(s, plain, "auth/token/create", b), 400, text)
		refused(t, put(s, plain, "auth/token/create/r", b), 400, text)
		if b["no_parent"] == nil {
			refused(t, put(s, plain, "auth/token/create-orphan", b), 400, text)
		}
		create(t, s, chief, b)
	}
	if !alive(s, "mine") {
		t.Error("a token with a chosen id is of no use")
	}
	refused(t, put(s, chief, "auth/token/create", body{"id": "mine"}), 400, "duplicate ID")
	for _, id := range []string{"cfs.x", "cfb.x", "hvs.x", "s.x", "a b", strings.Repeat("x", 300)} {
		refused(t, put(s, chief, "auth/token/create", body{"id": id}), 400, "custom token ID")
	}
	orphan := s.Must(http.StatusOK, kit.Request{Method: http.MethodPost, Path: "auth/token/create-orphan", Token: plain})
	if orphan.At("auth", "orphan") != true {
		t.Errorf("%s", orphan.Raw)
	}
}

func TestBadCreations(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	before := s.Checksum()
	for _, c := range []struct {
		b    body
		text string
	}{
		{body{"num_uses": -1}, "negative"},
		{body{"ttl": "-1h"}, "ttl"},
		{body{"ttl": "soon"}, "ttl"},
		{body{"type": "other"}, "type"},
		{body{"type": "batch"}, "batch tokens cannot be root tokens"},
		{body{"type": "batch", "policies": "a", "num_uses": 1}, "num_uses"},
		{body{"type": "batch", "policies": "a", "period": "1h"}, "period"},
		{body{"type": "batch", "policies": "a", "explicit_max_ttl": "1h"}, "explicit_max_ttl"},
		{body{"type": "batch", "policies": "a", "id": "x"}, "chosen id"},
		{body{"meta": body{"k": strings.Repeat("x", 10000)}}, "meta"},
		{body{"display_name": strings.Repeat("x", 300)}, "display_name"},
		{body{"policies": strings.Repeat("x,", 1) + many(300)}, "policies"},
		{body{"entity_alias": "x"}, "entity_alias"},
	} {
		refused(t, put(s, s.Root, "auth/token/create", c.b), 400, c.text)
	}
	refused(t, put(s, s.Root, "auth/token/create/none", nil), 400, "unknown role none")
	if s.Checksum() != before {
		t.Error("a refused creation changed something")
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("p" + strings.Repeat("x", i) + ",")
	}
	return b.String()
}

func TestWhoCannotCreate(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	counted := child(t, s, s.Root, body{"policies": "maker", "num_uses": 3})
	refused(t, put(s, counted, "auth/token/create", nil), 400, "restricted use token cannot generate child tokens")
	batch := child(t, s, s.Root, body{"policies": "maker", "type": "batch"})
	refused(t, put(s, batch, "auth/token/create", nil), 400, "batch tokens cannot create more tokens")
}

func TestAncestorsAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	token := child(t, s, s.Root, body{"policies": "maker"})
	depth := 0
	for ; ; depth++ {
		r := put(s, token, "auth/token/create", nil)
		if r.Status != http.StatusOK {
			refused(t, r, 400, "ancestors")
			break
		}
		token = r.Text("auth", "client_token")
		if !alive(s, token) {
			t.Fatalf("a token of depth %d was made and is of no use", depth)
		}
	}
	if depth < 32 {
		t.Errorf("only %d levels", depth)
	}
}

func TestTTLs(t *testing.T) {
	t.Parallel()
	s := newServer(t, kit.Limits(time.Hour, 10*time.Hour))
	ttl := func(b body) (int64, bool) {
		t.Helper()
		b["policies"] = "a"
		r := create(t, s, s.Root, b)
		return number(t, r.At("auth", "lease_duration")), len(r.Strings("warnings")) > 0
	}
	for _, c := range []struct {
		b      body
		want   int64
		warned bool
	}{
		{body{}, 3600, false},
		{body{"ttl": "2h"}, 7200, false},
		{body{"ttl": 90}, 90, false},
		{body{"ttl": "20h"}, 36000, true},
		{body{"explicit_max_ttl": "30m"}, 1800, false},
		{body{"explicit_max_ttl": "20h", "ttl": "3h"}, 10800, true},
		{body{"explicit_max_ttl": "2h", "ttl": "3h"}, 7200, true},
		{body{"period": "2h"}, 7200, false},
		{body{"period": "2h", "ttl": "5h"}, 7200, false},
		{body{"period": "20h"}, 36000, false},
		{body{"period": "2h", "explicit_max_ttl": "90m"}, 5400, false},
		{body{"type": "batch", "ttl": "2h"}, 7200, false},
		{body{"type": "batch"}, 3600, false},
	} {
		if got, warned := ttl(c.b); got != c.want || warned != c.warned {
			t.Errorf("%v: %d seconds, warned %v; want %d, %v", c.b, got, warned, c.want, c.warned)
		}
	}
	s.Put("sys/auth/token/tune", body{"default_lease_ttl": "5m", "max_lease_ttl": "10m"})
	if got, _ := ttl(body{}); got != 300 {
		t.Errorf("a tuned default gives %d", got)
	}
	if got, _ := ttl(body{"ttl": "1h"}); got != 600 {
		t.Errorf("a tuned limit gives %d", got)
	}
}

func TestRootTokensThatEnd(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := newServer(t, kit.At(clock))
	ending := child(t, s, s.Root, body{"ttl": "1h"})
	refused(t, put(s, ending, "auth/token/create", body{"no_parent": true}), 400, "expiring root tokens cannot create non-expiring root tokens")
	l := s.Get("auth/token/lookup-self")
	if number(t, l.At("data", "ttl")) != 0 || l.At("data", "expire_time") != nil || l.At("data", "orphan") != true {
		t.Errorf("%s", l.Raw)
	}
	clock.Advance(2 * time.Hour)
	if alive(s, ending) || !alive(s, s.Root) {
		t.Error("the wrong root token ended")
	}
}
