package core_test

import (
	"slices"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// Whatever gives policies warns of those that there are none of.
func TestMissingPoliciesWarn(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Policy("there", `path "a" { capabilities = ["read"] }`)
	for _, engine := range []string{"approle", "userpass"} {
		s.Put("sys/auth/"+engine, body{"type": engine})
	}
	s.Put("auth/approle/role/r", body{"token_policies": "there"})
	for path, b := range map[string]body{
		"auth/approle/role/r":          {"token_policies": "there,Nowhere"},
		"auth/approle/role/r/policies": {"token_policies": "nowhere"},
		"auth/userpass/users/u":        {"password": "p", "policies": []string{"nowhere", "there"}},
		"identity/entity":              {"name": "e", "policies": "nowhere"},
		"identity/group":               {"name": "g", "policies": "nowhere"},
	} {
		got := s.Put(path, b).Strings("warnings")
		if !slices.Contains(got, `policy "nowhere" does not exist`) || slices.Contains(got, `policy "there" does not exist`) {
			t.Errorf("%s warned %q", path, got)
		}
	}
	if got := s.Put("auth/approle/role/q", body{"token_policies": "there"}).Strings("warnings"); len(got) > 0 {
		t.Errorf("warned %q", got)
	}
}
