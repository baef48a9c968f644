package core_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestDenialTeaches: a denial says what was missing and, for a rule without
// data/, how to write it; and nothing of anybody else's rules.
func TestDenialTeaches(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("secret", "kv", map[string]string{"version": "2"})
	s.Policy("naive", `path "secret/app/*" { capabilities = ["read"] }`)
	s.Policy("denies", `path "secret/data/top/*" { capabilities = ["deny"] }`)
	s.Policy("other", `path "secret/data/hidden" { capabilities = ["read"] }`)
	naive, denies := s.Login("naive"), s.Login("denies")
	for _, c := range []struct {
		name, token, method, path string
		want                      []string
	}{
		{"a rule without data/", naive, http.MethodGet, "secret/data/app/db", []string{
			`capability "read" on "secret/data/app/db"`, `path "secret/data/app/*" { capabilities = ["read"] }`,
		}},
		{"a listing", naive, "LIST", "secret/metadata/app", []string{`capability "list" on "secret/metadata/app/"`}},
		{"a deny", denies, http.MethodGet, "secret/data/top/x", []string{`a rule for "secret/data/top/*" denies`}},
		{"another's rule", naive, http.MethodGet, "secret/data/hidden", []string{`capability "read" on "secret/data/hidden"`}},
	} {
		r := s.Do(kit.Request{Method: c.method, Path: c.path, Token: c.token})
		refused(t, r, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
		got := strings.Join(r.Strings("warnings"), "\n")
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q does not say %q", c.name, got, want)
			}
		}
		if strings.Contains(got, "other") || c.path == "secret/data/hidden" && strings.Contains(got, "is there") {
			t.Errorf("%s: %q tells of another's policy", c.name, got)
		}
	}
}

// TestExplain asks the enforcer itself.
func TestExplain(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Policy("app", "path \"secret/*\" { capabilities = [\"read\"] }\n\npath \"secret/top/+\" { capabilities = [\"deny\"] }\n")
	token := s.Login("app")
	accessor := must(t, s.Do(kit.Request{Method: http.MethodGet, Path: "auth/token/lookup-self", Token: token})).Text("data", "accessor")
	ask := func(b body) *kit.Response { return s.Put("sys/policies/explain", b) }
	r := ask(body{"accessor": accessor, "path": "secret/top/x", "operation": "read"})
	if r.At("data", "allowed") != false || r.Text("data", "rule", "path") != "secret/top/+" {
		t.Errorf("explained %s", r.Raw)
	}
	if !strings.Contains(string(r.Raw), `{"line":3,"path":"secret/top/+","policy":"app"}`) || !strings.Contains(string(r.Raw), `"lost":[{`) {
		t.Errorf("where the rules stand is missing: %s", r.Raw)
	}
	if r := ask(body{"policies": []string{"app"}, "path": "secret/x"}); r.At("data", "allowed") != true {
		t.Errorf("explained %s", r.Raw)
	}
	if r := ask(body{"policies": []string{"app"}, "path": "sys/rotate", "operation": "update"}); r.At("data", "sudo_required") != true || r.At("data", "allowed") != false {
		t.Errorf("explained %s", r.Raw)
	}
	own := kit.Request{Method: http.MethodPut, Path: "sys/policies/explain", Token: token, Body: body{"path": "secret/x"}}
	if r := must(t, s.Do(own)); r.At("data", "allowed") != true {
		t.Errorf("explained %s", r.Raw)
	}
	own.Body = body{"path": "secret/x", "policies": []string{"default"}}
	refused(t, s.Do(own), http.StatusForbidden, "permission denied")
	refused(t, s.Do(kit.Request{Method: http.MethodPut, Path: "sys/policies/explain", Body: body{"path": "a//b"}}), http.StatusBadRequest, "empty segment")
}

// TestMissingPolicyWarns: a token or role with the name of a policy that does
// not exist is made, and says so.
func TestMissingPolicyWarns(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Policy("there", `path "a" { capabilities = ["read"] }`)
	for _, path := range []string{"auth/token/create", "auth/token/roles/r"} {
		b := body{"policies": []string{"there", "gone"}}
		if strings.Contains(path, "roles") {
			b = body{"allowed_policies": []string{"there", "gone"}}
		}
		got := s.Put(path, b).Strings("warnings")
		if len(got) != 1 || got[0] != `policy "gone" does not exist` {
			t.Errorf("%s warns %q", path, got)
		}
	}
	if got := s.Put("auth/token/create", body{"policies": "there"}).Strings("warnings"); len(got) != 0 {
		t.Errorf("warned %q without a reason", got)
	}
}
