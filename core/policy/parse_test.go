package policy_test

import (
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core/policy"
)

func compile(list ...*policy.Policy) *policy.ACL { return policy.Compile(list, nil) }

func TestParseErrors(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for _, c := range []struct{ text, want string }{
		{"path", ``},
		{"path \"kv/a\" {\n  capabilities = [\"read\"\n}", ``},
		{"\n\nfoo \"kv/a\" { }", `line 3: invalid key "foo": a policy is made of path blocks`},
		{"name = \"x\"\nname \"y\" {}", `line 2: invalid key "name": a policy is made of path blocks`},
		{"\npath \"kv/a\" {\n  capabilities = [\"read\", \"reed\"]\n}", `line 2: path "kv/a": invalid capability "reed"`},
		{"path \"kv/a\" { capabilities = [\"Read\"] }", `line 1: path "kv/a": invalid capability "Read"`},
		{"path \"kv/a\" { capabilities = \"read\" }", `line 1: path "kv/a": capabilities: expected a list of strings`},
		{"path \"kv/a\" { capabilities = [[\"read\"]] }", `line 1: path "kv/a": capabilities: expected a list of strings`},
		{"path \"kv/a\" { capabilities = [1] }", `line 1: path "kv/a": capabilities: expected a list of strings`},
		{"path \"kv/a\" { capability = [\"read\"] }", `line 1: path "kv/a": invalid key "capability"`},
		{"path \"kv/a\" { policy = \"admin\" }", `line 1: path "kv/a": invalid policy "admin": it is deny, read, write or sudo`},
		{"path \"kv/a\" { policy = [\"read\"] }", `line 1: path "kv/a": invalid policy "": it is deny, read, write or sudo`},
		{"path \"kv/+*\" { }", `line 1: path "kv/+*": invalid use of wildcards: '+*' is forbidden`},
		{"path \"kv/{{\" { }", `line 1: path "kv/{{": a template is {{name}}`},
		{"path \"kv/{{ }}\" { }", `line 1: path "kv/{{ }}": a template is {{name}}`},
		{"path \"a\\nb\" { }", `line 1: path "a\nb": the path contains a control character`},
		{"path \"" + long + "\" { }", `line 1: path "` + long[:128] + `...": the path is longer than 2048 bytes`},
		{"path = \"x\"", `line 1: a path block has one path and a body`},
		{"path \"a\" \"b\" { }", `line 1: a path block has one path and a body`},
		{"path \"a\" = 1", ``},
		{"path \"a\" { min_wrapping_ttl = \"soon\" }", `line 1: path "a": min_wrapping_ttl: expected a duration such as "90s"`},
		{"path \"a\" { min_wrapping_ttl = -1 }", `line 1: path "a": min_wrapping_ttl: expected a duration such as "90s"`},
		{"path \"a\" { min_wrapping_ttl = 99999999999999999999 }", `line 1: path "a": min_wrapping_ttl: the value cannot be read`},
		{"path \"a\" { min_wrapping_ttl = 1e999 }", `line 1: path "a": min_wrapping_ttl: the value cannot be read`},
		{"path \"a\" { min_wrapping_ttl = [1] }", `line 1: path "a": min_wrapping_ttl: expected a single value`},
		{"path \"a\" { min_wrapping_ttl = \"2m\" max_wrapping_ttl = \"1m\" }", `line 1: path "a": max_wrapping_ttl cannot be less than min_wrapping_ttl`},
		{"path \"a\" { allowed_parameters = [\"x\"] }", `line 1: path "a": allowed_parameters: expected an object of lists`},
		{"path \"a\" { allowed_parameters = { x = 1 } }", `line 1: path "a": allowed_parameters: expected an object of lists`},
		{"path \"a\" { denied_parameters = { x = [[1]] } }", `line 1: path "a": denied_parameters: a parameter's values are strings, numbers and booleans`},
		{"path \"a\" { denied_parameters = { x = [99999999999999999999] } }", `line 1: path "a": denied_parameters: a parameter's values are strings, numbers and booleans`},
		{"path \"a\" { denied_parameters = { x = [1] X = [2] } }", `line 1: path "a": denied_parameters: parameter "x" is named twice`},
		{"path \"a\" { required_parameters = \"x\" }", `line 1: path "a": required_parameters: expected a list of strings`},
		{`{"path": {"a": {"capabilities": ["read"], "capabilities": ["sudo"]}}}`, `path "a": "capabilities" is set twice`},
		{`{"path": {"a": "read"}}`, `path "a": the block needs a body in braces`},
		{`{"path": {"a": {"capabilities": ["all"]}}}`, `path "a": invalid capability "all"`},
		{"{\n\"paths\": {}}", `invalid key "paths": a policy is made of path blocks`},
		{strings.Repeat("{", 40), `the policy is nested more than 16 deep`},
		{"path \"a\" { x = " + strings.Repeat("[", 100000), `the policy is nested more than 16 deep`},
		{"path \"a\" { x = " + strings.Repeat("[ # ]\n", 1000), `the policy is nested more than 16 deep`},
		{"# }}}}}}}}}}}}}}}}}}}}}}}}}\npath \"a\" { x = " + strings.Repeat("[", 20), `the policy is nested more than 16 deep`},
		{`{"a": "` + strings.Repeat("}", 50) + `", "x": ` + strings.Repeat("[", 20), `the policy is nested more than 16 deep`},
		{strings.Repeat("path \"a\" {}\n", 4097), `a policy may have at most 4096 path blocks`},
	} {
		_, err := policy.Parse("p", c.text)
		short := c.text[:min(len(c.text), 80)]
		switch {
		case err == nil:
			t.Errorf("%q was accepted", short)
		case c.want != "" && err.Error() != c.want:
			t.Errorf("%q:\n got %s\nwant %s", short, err, c.want)
		case err.Error() == "":
			t.Errorf("%q: an error without a text", short)
		}
	}
}

// Errors of the grammar come from the HCL library; they tell the line.
func TestGrammarErrorsTellTheLine(t *testing.T) {
	_, err := policy.Parse("p", "path \"kv/a\" {\n  capabilities = [\"read\"\n}")
	if err == nil || !strings.Contains(err.Error(), "3:1") {
		t.Errorf("got %v", err)
	}
}

func TestParseForms(t *testing.T) {
	for _, text := range []string{
		"path \"kv/a\" { capabilities = [\"read\"] }",
		"path \"/kv/a\" { capabilities = [\"read\"] }",
		"name = \"x\" path \"kv/a\" { capabilities = [\"read\"] comment = \"why\" }",
		"# {{{{{{{{{{{{{{{{{{{{{{{\npath \"kv/a\" {\r\n  capabilities = [\"read\",]\r\n}\r\n",
		"path \"kv/a\" { // [[[[[[[[[[[[[[[[[[[[[[[[\n capabilities = [\"read\"] /* } */ }",
		`{"path": {"kv/a": {"capabilities": ["read"]}}}`,
		`{"path": [{"kv/a": {"capabilities": ["read"]}}, {"kv/b": {"capabilities": ["list"]}}]}`,
		` {"name": "x", "path": {"kv/a": [{"capabilities": ["read"]}]}}`,
		`{"path": {"kv/a": {"policy": "read"}}}`,
	} {
		p, err := policy.Parse("p", text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		a := table{t, compile(p)}
		a.allow("read", "kv/a")
		a.deny("update", "kv/a")
	}
}

func TestNormalizeName(t *testing.T) {
	for in, want := range map[string]string{" Root ": "root", "A-b_C.d": "a-b_c.d", "É": "é", "a b": "a b"} {
		if got, err := policy.NormalizeName(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "  ", "a/b", "a\\b", "a\x00", "a\nb", "\xff", strings.Repeat("a", 129)} {
		if got, err := policy.NormalizeName(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}
