package system_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// leaseOf finds the one lease below a path.
func leaseOf(t *testing.T, s *kit.Server, dir string) string {
	t.Helper()
	keys := s.List("sys/leases/lookup/"+dir).Strings("data", "keys")
	if len(keys) != 1 {
		t.Fatalf("leases below %s: %q", dir, keys)
	}
	return dir + "/" + keys[0]
}

func TestLeasesOfTokens(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	s.Must(http.StatusNotFound, kit.Request{Method: "LIST", Path: "sys/leases/lookup/"})
	token := s.Put("auth/token/create", map[string]any{"ttl": "1h"}).Text("auth", "client_token")
	if got := s.List("sys/leases/lookup").Strings("data", "keys"); !slices.Equal(got, []string{"auth/"}) {
		t.Errorf("folders %q", got)
	}
	id := leaseOf(t, s, "auth/token/create")
	if strings.Contains(id, token) {
		t.Error("a lease is called by its token")
	}
	got := s.Put("sys/leases/lookup", map[string]any{"lease_id": id})
	if got.Text("data", "id") != id || fmt.Sprint(got.At("data", "ttl")) != "3600" || got.At("data", "last_renewal") != nil || got.At("data", "renewable") != true {
		t.Errorf("lease %s", got.Raw)
	}
	for _, bad := range []string{id + "00", "auth/token/" + id[strings.LastIndexByte(id, '/')+1:], "x", "auth/token/create/h", "auth/token/create/hzz"} {
		s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/lookup", Body: map[string]any{"lease_id": bad}})
		s.Put("sys/leases/revoke", map[string]any{"lease_id": bad})
	}
	refused := s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/renew", Body: map[string]any{"lease_id": id}})
	if !strings.Contains(string(refused.Raw), "tokens cannot be renewed") {
		t.Errorf("refused with %s", refused.Raw)
	}
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/renew/x/y", Body: map[string]any{}})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Body: map[string]any{}})
	s.Put("sys/leases/revoke/"+id, nil)
	s.Must(http.StatusForbidden, kit.Request{Path: "auth/token/lookup-self", Token: token})
	s.Put("auth/token/create", map[string]any{"ttl": "1h"})
	clock.Advance(2 * time.Hour)
	s.Must(http.StatusNotFound, kit.Request{Method: "LIST", Path: "sys/leases/lookup/auth/token/create"})
}

func TestRevokePrefix(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Policy("maker", `path "auth/token/create" { capabilities = ["update"] }`)
	parent := s.Put("auth/token/create", map[string]any{"ttl": "1h", "policies": "default,maker"}).Text("auth", "client_token")
	child := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create", Token: parent, Body: map[string]any{}}).Text("auth", "client_token")
	other := s.Put("auth/token/create-orphan", map[string]any{"ttl": "1h"}).Text("auth", "client_token")
	for range 450 {
		s.Put("auth/token/create", map[string]any{"ttl": "1h"})
	}
	s.Put("sys/leases/revoke-prefix/auth/token/creat", nil)
	s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: child})
	s.Put("sys/leases/revoke-prefix/auth/token/create", nil)
	for _, token := range []string{parent, child} {
		s.Must(http.StatusForbidden, kit.Request{Path: "auth/token/lookup-self", Token: token})
	}
	s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: other})
	s.Must(http.StatusNotFound, kit.Request{Method: "LIST", Path: "sys/leases/lookup/auth/token/create"})
	s.Put("sys/leases/revoke-force/auth/token", nil)
	s.Must(http.StatusForbidden, kit.Request{Path: "auth/token/lookup-self", Token: other})
	s.Get("auth/token/lookup-self") // the root token does not end, so it has no lease
	s.Policy("lister", `path "sys/leases/lookup/*" { capabilities = ["list"] }`)
	s.Must(http.StatusForbidden, kit.Request{Method: "LIST", Path: "sys/leases/lookup", Token: s.Login("lister")})
	s.Must(http.StatusForbidden, kit.Request{Method: "LIST", Path: "sys/leases/lookup/auth", Token: s.Login("lister")})
}

func TestLeaseUpkeep(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	for _, path := range []string{"sys/leases", "sys/leases/count"} {
		s.Must(http.StatusBadRequest, kit.Request{Path: path})
		if got := s.Get(path + "?type=irrevocable"); fmt.Sprint(got.At("data", "lease_count")) != "0" {
			t.Errorf("%s: %s", path, got.Raw)
		}
	}
	if got := s.Put("sys/leases/tidy", nil); len(got.Strings("warnings")) != 1 {
		t.Errorf("tidy %s", got.Raw)
	}
}
