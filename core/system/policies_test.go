package system_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

const someRule = `path "kv/*" { capabilities = ["read"] }`

func TestPolicies(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "sys/policies/acl/B", Body: body{"policy": someRule}})
	old := s.Must(http.StatusOK, kit.Request{Method: http.MethodPost, Path: "sys/policy/a", Body: body{
		"rules": base64.StdEncoding.EncodeToString([]byte(someRule)),
	}})
	if len(old.Strings("warnings")) != 1 {
		t.Errorf("an old field gives no warning: %s", old.Raw)
	}
	for path, text := range map[string]string{"sys/policies/acl/b": "policy", "sys/policy/b": "rules", "sys/policies/acl/A": "policy"} {
		r := s.Get(path)
		if r.Text("data", text) != someRule || number(t, r.At("data", "version")) != "1" {
			t.Errorf("%s: %s", path, r.Raw)
		}
	}
	all := []string{"a", "b", "default", "root"}
	same(t, s.List("sys/policies/acl"), all, "data", "keys")
	same(t, s.Get("sys/policy"), all, "policies")
	same(t, s.List("sys/policies/acl?after=a&limit=2"), all[1:3], "data", "keys")
	same(t, s.List("sys/policies/acl?after=aa&limit=9"), all[1:], "data", "keys")
	same(t, s.List("sys/policies/acl?after=default"), all[3:], "data", "keys")
	s.Delete("sys/policies/acl/b")
	s.Delete("sys/policies/acl/b")
	s.Must(http.StatusNotFound, kit.Request{Path: "sys/policies/acl/b"})
}

func TestPoliciesThatCannotBe(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	before := s.Checksum()
	for _, c := range []struct {
		path string
		b    body
		text string
	}{
		{"x", body{}, "'policy' parameter not supplied or empty"},
		{"x", body{"policy": `path "a" {`}, "failed to parse policy"},
		{"x", body{"policy": `path "a" { capabilities = ["fly"] }`}, "failed to parse policy"},
		{"root", body{"policy": someRule}, "root"},
		{strings.Repeat("x", 200), body{"policy": someRule}, "name cannot be used"},
		{"x", body{"policy": someRule, "cas": 3}, "check-and-set parameter did not match the current version"},
	} {
		refused(t, put(s, "", "sys/policies/acl/"+c.path, c.b), 400, c.text)
	}
	refused(t, put(s, "", "sys/policies/acl/x", body{"policy": "#" + strings.Repeat("x", 600<<10)}), 413, "at most")
	for _, name := range []string{"root", "default", "response-wrapping"} {
		refused(t, s.Do(kit.Request{Method: http.MethodDelete, Path: "sys/policies/acl/" + name}), 400, "cannot")
	}
	if s.Checksum() != before {
		t.Error("a refused change changed something")
	}
}

func TestPolicyCAS(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	write := func(more body) *kit.Response {
		more["policy"] = someRule
		return put(s, "", "sys/policies/acl/x", more)
	}
	for _, c := range []struct {
		b      body
		status int
	}{
		{body{"cas": 0, "cas_required": true}, 204},
		{body{}, 400},
		{body{"cas": 0}, 400},
		{body{"cas": -1}, 400},
		{body{"cas": 1}, 204},
		{body{"cas": 1}, 400},
		{body{"cas": 2, "cas_required": false}, 204},
		{body{}, 204},
	} {
		if r := write(c.b); r.Status != c.status {
			t.Errorf("%v: %d %s, want %d", c.b, r.Status, r.Raw, c.status)
		}
	}
	if got := number(t, s.Get("sys/policies/acl/x").At("data", "version")); got != "4" {
		t.Errorf("version %s", got)
	}
}

func TestPoliciesEnd(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	s.Mount("kv", "kv", nil)
	s.Put("kv/x", body{"k": "v"})
	s.Put("sys/policies/acl/short", body{"policy": someRule, "ttl": "1h"})
	token := s.Login("short")
	s.Must(http.StatusOK, kit.Request{Path: "kv/x", Token: token})
	clock.Advance(time.Hour - time.Second)
	s.Must(http.StatusOK, kit.Request{Path: "kv/x", Token: token})
	clock.Advance(time.Second)
	s.Must(http.StatusForbidden, kit.Request{Path: "kv/x", Token: token})
	s.Put("sys/policies/acl/short", body{"policy": someRule})
	s.Must(http.StatusOK, kit.Request{Path: "kv/x", Token: token})
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Policy("p", `path "kv/a" { capabilities = ["read", "list"] }
path "kv/b" { capabilities = ["deny"] }
path "sys/capabilities*" { capabilities = ["update"] }`)
	r := s.Put("auth/token/create", body{"policies": "p"})
	token, accessor := r.Text("auth", "client_token"), r.Text("auth", "accessor")
	paths := []string{"kv/a", "/kv/a", "kv/b", "kv/c"}
	for _, got := range []*kit.Response{
		put(s, token, "sys/capabilities-self", body{"paths": paths}),
		put(s, "", "sys/capabilities", body{"paths": paths, "token": token}),
		put(s, token, "sys/capabilities-accessor", body{"paths": paths, "accessor": accessor}),
	} {
		for path, want := range map[string][]string{"kv/a": {"list", "read"}, "/kv/a": {"list", "read"}, "kv/b": {"deny"}, "kv/c": {"deny"}} {
			same(t, got, want, "data", path)
			same(t, got, want, path)
		}
	}
	one := put(s, token, "sys/capabilities-self", body{"path": "kv/a"})
	same(t, one, []string{"list", "read"}, "capabilities")
	same(t, put(s, "", "sys/capabilities-self", body{"paths": "anything"}), []string{"root"}, "data", "anything")
	refused(t, put(s, "", "sys/capabilities", body{"paths": paths}), 400, "missing token")
	refused(t, put(s, "", "sys/capabilities", body{"paths": paths, "token": "none"}), 400, "invalid token")
	refused(t, put(s, "", "sys/capabilities-accessor", body{"paths": paths, "accessor": "none"}), 403, "invalid accessor")
	refused(t, put(s, "", "sys/capabilities-self", nil), 400, "paths must be supplied")
}
