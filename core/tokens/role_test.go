package tokens_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestRolesDecidePolicies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	caller := child(t, s, s.Root, body{"policies": "maker"})
	for name, role := range map[string]body{
		"allow":    {"allowed_policies": "a,b"},
		"glob":     {"allowed_policies_glob": "app-*,x*z"},
		"disallow": {"disallowed_policies": "boss"},
		"notglob":  {"disallowed_policies_glob": "b*"},
		"bare":     {"allowed_policies": "a", "token_no_default_policy": true},
		"nodef":    {"allowed_policies": "a", "disallowed_policies": "default"},
		"rooty":    {"allowed_policies": "root"},
	} {
		s.Put("auth/token/roles/"+name, role)
	}
	for _, c := range []struct {
		role, asked string
		want        []string
	}{
		{"allow", "", []string{"a", "b", "default"}},
		{"allow", "a", []string{"a", "default"}},
		{"glob", "app-1,xyz", []string{"app-1", "default", "xyz"}},
		{"glob", "", []string{"default"}},
		{"disallow", "whatever", []string{"default", "whatever"}},
		{"bare", "", []string{"a"}},
		{"nodef", "", []string{"a"}},
	} {
		r := s.Must(http.StatusOK, kit.Request{
			Method: http.MethodPut, Path: "auth/token/create/" + c.role, Token: caller, Body: body{"policies": c.asked},
		})
		wantPolicies(t, r, c.want...)
	}
	for _, c := range []struct{ role, asked, text string }{
		{"allow", "c", "must be subset of the role's allowed policies"},
		{"glob", "app", "must be subset of the role's allowed policies"},
		{"disallow", "boss", "is disallowed by this role"},
		{"notglob", "boss", "is disallowed by this role"},
		{"nodef", "default", "is disallowed by this role"},
		{"rooty", "", "root tokens may not be created"},
	} {
		refused(t, put(s, caller, "auth/token/create/"+c.role, body{"policies": c.asked}), 400, c.text)
	}
}

func TestRoleParameters(t *testing.T) {
	t.Parallel()
	s := newServer(t, kit.Limits(time.Hour, 10*time.Hour))
	caller := child(t, s, s.Root, body{"policies": "maker"})
	s.Put("auth/token/roles/r", body{
		"allowed_policies": "a", "orphan": true, "renewable": false, "path_suffix": "edge", "token_period": "30m",
		"token_num_uses": 5, "token_bound_cidrs": "127.0.0.1", "token_explicit_max_ttl": "2h",
	})
	r := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create/r", Token: caller, Body: body{"num_uses": 9}})
	id := r.Text("auth", "client_token")
	l := s.Put("auth/token/lookup", body{"token": id})
	for field, want := range map[string]any{"orphan": true, "renewable": false, "path": "auth/token/create/r/edge", "role": "r"} {
		if got := l.At("data", field); got != want {
			t.Errorf("%s: %v, want %v", field, got, want)
		}
	}
	for field, want := range map[string]int64{"period": 1800, "num_uses": 5, "explicit_max_ttl": 7200} {
		if got := number(t, l.At("data", field)); got != want {
			t.Errorf("%s: %d, want %d", field, got, want)
		}
	}
	if got := l.Strings("data", "bound_cidrs"); !slices.Equal(got, []string{"127.0.0.1/32"}) {
		t.Errorf("bound_cidrs %q", got)
	}
	s.Put("auth/token/roles/b", body{"token_type": "batch", "orphan": true, "allowed_policies": "a"})
	batch := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create/b", Token: caller})
	if batch.Text("auth", "token_type") != "batch" {
		t.Errorf("%s", batch.Raw)
	}
	s.Put("auth/token/revoke", body{"token": caller})
	if !alive(s, batch.Text("auth", "client_token")) {
		t.Error("an orphaned batch token died with its maker")
	}
}

func TestRolesAreKept(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Must(http.StatusNotFound, kit.Request{Method: "LIST", Path: "auth/token/roles"})
	s.Must(http.StatusNotFound, kit.Request{Path: "auth/token/roles/r"})
	s.Put("auth/token/roles/r", body{"allowed_policies": "a", "token_period": "1h"})
	s.Put("auth/token/roles/r", body{"orphan": true})
	r := s.Get("auth/token/roles/r")
	if !slices.Equal(r.Strings("data", "allowed_policies"), []string{"a"}) || r.At("data", "orphan") != true || number(t, r.At("data", "token_period")) != 3600 {
		t.Errorf("an update lost what it did not name: %s", r.Raw)
	}
	if got := s.List("auth/token/roles").Strings("data", "keys"); !slices.Equal(got, []string{"r"}) {
		t.Errorf("listed %q", got)
	}
	for _, bad := range []body{
		{"path_suffix": "a/b"}, {"token_type": "x"}, {"token_bound_cidrs": "nowhere"}, {"token_num_uses": -1},
		{"token_type": "batch", "token_num_uses": 1},
	} {
		if got := put(s, s.Root, "auth/token/roles/bad", bad); got.Status != http.StatusBadRequest {
			t.Errorf("%v: %d", bad, got.Status)
		}
	}
	s.Delete("auth/token/roles/r")
	s.Must(http.StatusNotFound, kit.Request{Path: "auth/token/roles/r"})
}

func TestBoundAddresses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Put("auth/token/roles/far", body{"allowed_policies": "maker", "token_bound_cidrs": "10.0.0.0/8"})
	s.Put("auth/token/roles/near", body{"allowed_policies": "maker", "token_bound_cidrs": "127.0.0.0/8,::1/128"})
	s.Put("auth/token/roles/here", body{"allowed_policies": "maker", "token_strictly_bind_ip": true})
	through := func(role string) string {
		return s.Put("auth/token/create/"+role, nil).Text("auth", "client_token")
	}
	far, near := through("far"), through("near")
	refused(t, s.Do(kit.Request{Path: "auth/token/lookup-self", Token: far}), 403, "permission denied")
	refused(t, s.Do(kit.Request{Path: "sys/internal/ui/mounts", Token: far}), 403, "permission denied")
	if !alive(s, near) {
		t.Error("a token cannot be used from where it is bound to")
	}
	kid := child(t, s, near, nil)
	if got := s.Put("auth/token/lookup", body{"token": kid}).Strings("data", "bound_cidrs"); len(got) != 2 {
		t.Errorf("a child is bound to %q: less than its parent", got)
	}
	if got := s.Put("auth/token/lookup", body{"token": through("here")}).Strings("data", "bound_cidrs"); !slices.Equal(got, []string{"127.0.0.1/32"}) {
		t.Errorf("a token bound to the caller's address is bound to %q", got)
	}
}
