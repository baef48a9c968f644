package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coffer-secrets/coffer/core/policy"
)

// FuzzParse: no text makes the parser panic, an error has a text, and what was
// accepted can be used.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`path "kv/a" { capabilities = ["read"] }`,
		`path "kv/{{identity.entity.id}}/*" { policy = "write" min_wrapping_ttl = "1m" max_wrapping_ttl = 90 }`,
		`path "a" { capabilities = ["update"] allowed_parameters = { "x" = [1, 1.5, true, "y*"] "*" = [] } denied_parameters = { z = [] } required_parameters = ["q"] }`,
		`{"path": {"kv/a": {"capabilities": ["read", "deny"]}}}`,
		`{"path": [{"a": [{"policy": "sudo"}]}, {"b": {}}]}`,
		"path \"a\" { capabilities = [<<EOF\nread\nEOF\n] }",
		`path "a" { min_wrapping_ttl = 99999999999999999999 }`,
		`path "a" { x = [[[[[[[[[[[[[[[[[[[[`,
		"path \"\\x\" {}", "\xef\xbb\xbfpath \"a\" {}", "path \"${a}\" {}", "/* ", "#", "<<", "{", "\x00", `{"\0`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Parse("p", text)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		acl := policy.Compile([]*policy.Policy{p}, func(string) (string, bool) { return "v", true })
		if acl.IsRoot() {
			t.Error("a text made root")
		}
		for _, path := range []string{"kv/a", "a", "a/", "kv/v/b"} {
			r := &policy.Request{Path: path, Op: policy.Update, Parameters: map[string]json.RawMessage{"x": []byte("1"), "z": []byte(`["y"]`)}}
			d, e := acl.Allow(r), acl.Explain(r)
			if d.Allowed != e.Allowed || d.Allowed != (d.Reason == "") {
				t.Errorf("%s: decided %+v, explained %+v", path, d, e)
			}
			if d.Allowed && !slices.Contains(acl.Capabilities(path), "update") {
				t.Errorf("%s: allowed without the capability", path)
			}
			acl.HasAccessBelow(path + "/")
		}
	})
}

// FuzzMatch compares three rules on a path with the model.
func FuzzMatch(f *testing.F) {
	f.Add("kv/*", "kv/a", "+/a", "kv/a", byte(0))
	f.Add("kv/x/*", "kv/+/*", "kv/x", "kv/x/", byte(1))
	f.Add("+/+/b", "a/+/*", "a/b*", "a/b/b", byte(2))
	f.Add("", "*", "+", "", byte(4))
	f.Add("a//", "a/+/", "a//*", "a//", byte(7))
	f.Add("é*", "é/+", "\u202e*", "é/\u202e", byte(5))
	f.Add("/a", "//a", "a/", "a", byte(3))
	f.Add("0**", "0*", "0", "0*", byte(3))
	f.Fuzz(func(t *testing.T, r1, r2, r3, path string, denies byte) {
		m := new(model)
		rules := map[string]any{}
		for i, rule := range []string{r1, r2, r3} {
			if !usable(rule) {
				return
			}
			caps := []string{"read", "list"}
			if denies&(1<<i) != 0 {
				caps = []string{"deny"}
			}
			if _, twice := rules[rule]; twice {
				return
			}
			rules[rule] = map[string]any{"capabilities": caps}
			m.add(strings.TrimPrefix(rule, "/"), caps)
		}
		text, err := json.Marshal(map[string]any{"path": rules})
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.Parse("p", string(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		acl := policy.Compile([]*policy.Policy{p}, nil)
		if got, want := acl.Allow(request("list", path, nil)).Allowed, m.allows("list", path); got != want {
			t.Errorf("list %q under %s: %v, want %v", path, text, got, want)
		}
	})
}

// usable reports whether a rule's path has no meaning but that of the model.
func usable(path string) bool {
	return utf8.ValidString(path) && len(path) <= 2048 && !strings.Contains(path, "{{") && !strings.Contains(path, "+*") &&
		!strings.ContainsFunc(path, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
