package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/policy"
)

func TestCapabilities(t *testing.T) {
	for name := range operations {
		a := given(t, fmt.Sprintf(`path "kv/a" { capabilities = [%q] } path "dir/*" { capabilities = [%q] }`, name, name))
		for op := range operations {
			for _, path := range []string{"kv/a", "dir/a", "dir/a/b"} {
				if op == name {
					a.allow(op, path)
				} else {
					a.deny(op, path)
				}
			}
			a.deny(op, "kv/b")
			a.deny(op, "kv/aa")
			a.deny(op, "kv")
			a.deny(op, "")
		}
	}
}

func TestNothingIsAllowedByDefault(t *testing.T) {
	for _, a := range []table{given(t), given(t, ``), given(t, `path "kv/a" {}`), given(t, `path "kv/a" { capabilities = [] }`)} {
		for op := range operations {
			a.deny(op, "kv/a")
			a.deny(op, "sys/mounts")
		}
		if got := a.Capabilities("kv/a"); !slices.Equal(got, []string{"deny"}) {
			t.Errorf("capabilities %v", got)
		}
	}
}

func TestNoOperationIsNeverAllowed(t *testing.T) {
	a := given(t, `path "*" { capabilities = ["create", "read", "update", "delete", "list", "scan", "patch", "sudo"] }`)
	if a.Allow(&policy.Request{Path: "kv/a"}).Allowed {
		t.Error("a request for nothing is allowed")
	}
}

func TestRoot(t *testing.T) {
	a := table{t, policy.Compile([]*policy.Policy{policy.RootPolicy(), parse(t, `path "*" { capabilities = ["deny"] }`)[0]}, nil)}
	for op := range operations {
		a.allow(op, "any/thing")
	}
	d := a.Allow(request("read", "sys/raw/x", nil))
	if !d.Root || !d.Sudo || !a.IsRoot() || !a.Sudo("x") || !a.HasAccessBelow("x/") {
		t.Error("root lacks something")
	}
	if got := a.Capabilities("x"); !slices.Equal(got, []string{"root"}) {
		t.Errorf("capabilities %v", got)
	}
}

func TestANamedRootIsNotRoot(t *testing.T) {
	p, err := policy.Parse(policy.Root, ``)
	if err != nil {
		t.Fatal(err)
	}
	if a := policy.Compile([]*policy.Policy{p}, nil); a.IsRoot() || a.Allow(request("read", "a", nil)).Allowed {
		t.Error("a policy with text became root by its name")
	}
}

func TestLegacyPolicy(t *testing.T) {
	all := []string{"create", "read", "update", "delete", "list", "scan", "patch"}
	for name, want := range map[string][]string{
		"deny": nil, "read": {"read", "list"},
		"write": {"create", "read", "update", "delete", "list"},
		"sudo":  {"create", "read", "update", "delete", "list"},
	} {
		a := given(t, fmt.Sprintf(`path "kv/a" { policy = %q }`, name))
		for _, op := range all {
			if slices.Contains(want, op) {
				a.allow(op, "kv/a")
			} else {
				a.deny(op, "kv/a")
			}
		}
		if got := a.Sudo("kv/a"); got != (name == "sudo") {
			t.Errorf("policy %q: sudo is %v", name, got)
		}
	}
}

func TestSudo(t *testing.T) {
	a := given(t, `
path "sys/raw/*" { capabilities = ["read", "sudo"] }
path "sys/raw/b" { capabilities = ["read"] }
path "sys/raw/c" { capabilities = ["sudo", "deny", "read"] }`)
	for path, want := range map[string]bool{"sys/raw/a": true, "sys/raw/b": false, "sys/raw/c": false, "sys/x": false} {
		if got := a.Sudo(path); got != want {
			t.Errorf("sudo of %s: %v, want %v", path, got, want)
		}
		if got := a.Allow(request("read", path, nil)); got.Sudo != want {
			t.Errorf("decision on %s: sudo %v, want %v", path, got.Sudo, want)
		}
	}
}

func TestGlobs(t *testing.T) {
	a := given(t, `
path "kv/app*"     { capabilities = ["read"] }
path "kv/dir/*"    { capabilities = ["read"] }
path "mid/*/x"     { capabilities = ["read"] }
path "lit/a*b"     { capabilities = ["read"] }`)
	for _, path := range []string{"kv/app", "kv/apple", "kv/app/x/y", "kv/dir/a", "kv/dir/a/b", "mid/*/x", "lit/a*b"} {
		a.allow("read", path)
	}
	for _, path := range []string{"kv/ap", "kv/dir", "kv/dira", "kv", "mid/a/x", "mid/x", "lit/aab", "lit/ab", "lit/a*bc", "x/kv/app"} {
		a.deny("read", path)
	}
	given(t, `path "*" { capabilities = ["read"] }`).allow("read", "any/thing")
	given(t, `path "" { capabilities = ["read"] }`).deny("read", "any")
}

func TestPlus(t *testing.T) {
	a := given(t, `
path "kv/+/x"     { capabilities = ["read"] }
path "+/b"        { capabilities = ["read"] }
path "t/+/+/z*"   { capabilities = ["read"] }
path "end/+"      { capabilities = ["read"] }
path "pre+/y"     { capabilities = ["read"] }
path "all/+/*"    { capabilities = ["read"] }`)
	for _, path := range []string{"kv/a/x", "kv/+/x", "q/b", "t/1/2/z", "t/1/2/zz/deep", "end/a", "pre+/y", "all/a/b", "all/a/b/c"} {
		a.allow("read", path)
	}
	for _, path := range []string{"kv/a/b/x", "kv/x", "kv/a/x/y", "q/b/c", "a/q/b", "t/1/z", "t/1/2/y", "end/a/b", "end", "prea/y", "all/a"} {
		a.deny("read", path)
	}
}

// The rules that Vault documents, each by a pair of patterns that both match.
func TestPriority(t *testing.T) {
	for _, c := range []struct{ why, lower, higher, path string }{
		{"exact over glob", "kv/a*", "kv/a", "kv/a"},
		{"exact over plus", "kv/+", "kv/a", "kv/a"},
		{"a later first wildcard", "kv/*", "kv/a*", "kv/ab"},
		{"a later first wildcard, plus and glob", "+/a/b", "kv/*", "kv/a/b"},
		{"a later first wildcard, however long", "kv/+/c/d/e", "kv/b/*", "kv/b/c/d/e"},
		{"no glob at the end", "kv/*", "kv/+", "kv/a"},
		{"no glob at the end, however many plus", "kv/+/*", "kv/+/+", "kv/a/b"},
		{"fewer plus", "kv/+/+/c", "kv/+/b/c", "kv/a/b/c"},
		{"longer", "kv/+/*", "kv/+/ab*", "kv/x/abc"},
		{"the order of bytes", "+/a/+/b/c/+", "+/a/b/+/c/+", "x/a/b/b/c/y"},
	} {
		allow, refuse := `path %q { capabilities = ["read"] }`, `path %q { capabilities = ["deny"] }`
		t.Run(c.why, func(t *testing.T) {
			for _, swap := range []bool{false, true} {
				texts := []string{fmt.Sprintf(refuse, c.lower), fmt.Sprintf(allow, c.higher)}
				if swap {
					slices.Reverse(texts)
				}
				given(t, texts...).allow("read", c.path)
				given(t, texts[0]+"\n"+texts[1]).allow("read", c.path)
				texts = []string{fmt.Sprintf(allow, c.lower), fmt.Sprintf(refuse, c.higher)}
				given(t, texts...).deny("read", c.path)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	read, update := `path "kv/a" { capabilities = ["read"] }`, `path "kv/a" { capabilities = ["update"] }`
	refuse := `path "kv/a" { capabilities = ["deny"] }`
	a := given(t, read, update)
	a.allow("read", "kv/a")
	a.allow("update", "kv/a")
	a.deny("delete", "kv/a")
	for _, texts := range [][]string{{read, refuse}, {refuse, read}, {read, refuse, update}, {read + refuse + update}, {"path \"/kv/a\" { capabilities = [\"deny\"] }", read}} {
		for op := range operations {
			given(t, texts...).deny(op, "kv/a")
		}
	}
}

func TestDenyWithinARule(t *testing.T) {
	a := given(t, `path "kv/*" { capabilities = ["read", "deny", "sudo"] allowed_parameters = { a = [] } }`)
	a.deny("read", "kv/a")
	if a.Sudo("kv/a") {
		t.Error("a deny gives sudo")
	}
}

// A listing is of a folder. What keeps the folder's content from a caller keeps
// its names too, however the folder is spelled in the rule (the class of
// GHSA-xp3c-rqjc-hg8r).
func TestListing(t *testing.T) {
	list := `{ capabilities = ["list", "scan"] }`
	refuse := `{ capabilities = ["deny"] }`
	for _, c := range []struct {
		policy string
		want   bool
	}{
		{`path "kv/x/" ` + list, true},
		{`path "kv/x" ` + list, true},
		{`path "kv/x/*" ` + list, true},
		{`path "kv/*" ` + list, true},
		{`path "kv/+" ` + list, true},
		{`path "kv/+/" ` + list, true},
		{`path "kv/x/a" ` + list, false},
		{`path "kv/xy*" ` + list, false},
		{`path "kv/*" ` + list + `path "kv/x" ` + refuse, false},
		{`path "kv/*" ` + list + `path "kv/x/" ` + refuse, false},
		{`path "kv/*" ` + list + `path "kv/x/*" ` + refuse, false},
		{`path "kv/*" ` + list + `path "kv/x*" ` + refuse, false},
		{`path "kv/*" ` + list + `path "kv/+/*" ` + refuse, true}, // fewer '+' wins, as Vault has it
		{`path "kv/*" ` + list + `path "kv/+/" ` + refuse, false},
		{`path "kv/*" ` + list + `path "kv/+" ` + refuse, false},
		{`path "kv/x" ` + list + `path "kv/x/*" ` + refuse, false},
		{`path "kv/+" ` + list + `path "kv/x/*" ` + refuse, false},
		{`path "kv/x/" ` + list + `path "kv/x/*" ` + refuse, true},
		{`path "kv/x/" ` + list + `path "kv/x" ` + refuse, true},
		{`path "kv/x/*" ` + list + `path "kv/x*" ` + refuse, true},
		{`path "kv/*" ` + list + `path "kv/x/secret" ` + refuse, true},
	} {
		a := given(t, c.policy)
		for _, op := range []string{"list", "scan"} {
			if c.want {
				a.allow(op, "kv/x/")
			} else {
				a.deny(op, "kv/x/")
			}
		}
	}
}

// What is not the same bytes is not the same name.
func TestSpellings(t *testing.T) {
	a := given(t, `path "kv/é/A" { capabilities = ["read"] } path "KV/*" { capabilities = ["deny"] }`)
	a.allow("read", "kv/é/A")
	for _, path := range []string{
		"kv/é/a", "kv/e\u0301/A", "Kv/é/A", "KV/é/A", "kv/é\u200b/A", "kv//é/A", "kv/./é/A", "kv/x/../é/A",
		"kv/%C3%A9/A", "kv%2Fé/A", "kv\\é\\A", "/kv/é/A", "kv/é/A\x00", " kv/é/A",
	} {
		a.deny("read", path)
	}
}

func TestTemplates(t *testing.T) {
	text := `
path "kv/{{ identity.entity.id }}/*"   { capabilities = ["read"] }
path "own/{{identity.entity.id}}"      { capabilities = ["read"] }
path "pre/u-{{identity.entity.id}}-x"  { capabilities = ["read"] }
path "star/{{identity.entity.id}}*"    { capabilities = ["read"] }`
	fill := func(value string) table { return filled(t, text, map[string]string{"identity.entity.id": value}) }
	a := fill("e1")
	for _, path := range []string{"kv/e1/a/b", "own/e1", "pre/u-e1-x", "star/e1", "star/e1x/y"} {
		a.allow("read", path)
	}
	for _, path := range []string{"kv/e2/a", "kv/e1", "own/e1/x", "own/e", "own/{{identity.entity.id}}", "pre/u--x", "star/e"} {
		a.deny("read", path)
	}
	for _, wild := range []string{"*", "+", "a*", "{{identity.entity.id}}", "+*", "**"} {
		a := fill(wild)
		a.allow("read", "own/"+wild)
		a.allow("read", "kv/"+wild+"/a")
		a.deny("read", "own/x")
		a.deny("read", "own/ab")
		a.deny("read", "kv/x/a")
		a.deny("read", "kv/x")
		a.deny("read", "pre/u-x-x")
		a.deny("read", "star/x")
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/", "a\\b", "a\x00b", "\xff", "a\n"} {
		a := fill(bad)
		for _, path := range []string{"kv//a", "kv/a", "kv/a/b", "own/", "own/" + bad, "own/a/b", "star/x", "kv/" + bad + "/a"} {
			a.deny("read", path)
		}
		if a.HasAccessBelow("own/") || a.HasAccessBelow("kv/") {
			t.Errorf("a value of %q gives access", bad)
		}
	}
	a = filled(t, text, nil)
	a.deny("read", "kv//a")
	a.deny("read", "own/{{identity.entity.id}}")
	given(t, text).deny("read", "own/{{identity.entity.id}}") // without a resolver
}

// A deny whose template has no value is for no path, as an allow is; what it
// would have guarded has to be refused by a rule that needs no value.
func TestTemplatesAreNotPatterns(t *testing.T) {
	values := map[string]string{"x": "+", "y": "a"}
	a := filled(t, `path "kv/{{x}}/b" { capabilities = ["deny"] } path "kv/+/b" { capabilities = ["read"] }`, values)
	a.allow("read", "kv/q/b")
	a.deny("read", "kv/+/b")
	// The value and the same text written out are one pattern.
	a = filled(t, `path "kv/{{y}}/b" { capabilities = ["deny"] } path "kv/a/b" { capabilities = ["read"] }`, values)
	a.deny("read", "kv/a/b")
	// Patterns that tie in all that Vault orders by decide alike every time.
	tie := `path "+/a/+/{{x}}" { capabilities = ["read"] } path "+/a/{{x}}/+" { capabilities = ["deny"] }`
	first := filled(t, tie, values).Allow(request("read", "q/a/+/+", nil)).Allowed
	for range 50 {
		if filled(t, tie, values).Allow(request("read", "q/a/+/+", nil)).Allowed != first {
			t.Fatal("a tie is broken by chance")
		}
	}
}

func TestWrapping(t *testing.T) {
	a := given(t, `
path "min"  { capabilities = ["read"] min_wrapping_ttl = "1m" }
path "max"  { capabilities = ["read"] max_wrapping_ttl = 90 }
path "both" { capabilities = ["read"] min_wrapping_ttl = "60" max_wrapping_ttl = "2m" }
path "none" { capabilities = ["read"] }`)
	for _, c := range []struct {
		path string
		ttl  time.Duration
		want bool
	}{
		{"min", 0, false}, {"min", 59 * time.Second, false}, {"min", time.Minute, true}, {"min", time.Hour, true},
		{"max", 0, false}, {"max", time.Second, true}, {"max", 90 * time.Second, true}, {"max", 91 * time.Second, false},
		{"both", 0, false}, {"both", 59 * time.Second, false}, {"both", 2 * time.Minute, true}, {"both", 121 * time.Second, false},
		{"none", 0, true}, {"none", time.Hour, true}, {"max", -time.Second, false}, {"min", -time.Hour, false},
	} {
		if c.want {
			a.allow("read", c.path, wrapped(c.ttl))
		} else {
			a.deny("read", c.path, wrapped(c.ttl))
		}
	}
	// Merged, the lesser of each bound counts; where they cross, nothing fits.
	a = given(t, `path "a" { capabilities = ["read"] min_wrapping_ttl = "10m" }`, `path "a" { capabilities = ["read"] max_wrapping_ttl = "5m" }`,
		`path "a" { capabilities = ["read"] max_wrapping_ttl = "1h" }`)
	for _, ttl := range []time.Duration{0, time.Minute, 5 * time.Minute, 7 * time.Minute, 10 * time.Minute, time.Hour} {
		a.deny("read", "a", wrapped(ttl))
	}
}

func TestExplain(t *testing.T) {
	a := given(t, `path "kv/*" { capabilities = ["read"] }
path "kv/a*" { capabilities = ["deny"] }`, `path "kv/a*" { capabilities = ["read"] }
path "+/ab" { capabilities = ["read"] }
path "other/*" { capabilities = ["read"] }`)
	e := a.Explain(request("read", "kv/ab", nil))
	if e.Allowed || e.Reason != policy.ReasonDeny || e.Rule.Path() != "kv/a*" {
		t.Errorf("decided by %q because %q", e.Rule.Path(), e.Reason)
	}
	want := []policy.Source{{Policy: "a", Line: 2, Path: e.Rule.Path()}, {Policy: "b", Line: 1, Path: e.Rule.Path()}}
	if !reflect.DeepEqual(e.Rule.Sources, want) {
		t.Errorf("sources %v, want %v", e.Rule.Sources, want)
	}
	var lost []string
	for _, rule := range e.Lost {
		lost = append(lost, rule.Path())
	}
	if !slices.Equal(lost, []string{"kv/*", "+/ab"}) {
		t.Errorf("lost: %v", lost)
	}
	if e := a.Explain(request("read", "none", nil)); e.Rule != nil || e.Reason != policy.ReasonNoRule || len(e.Lost) != 0 {
		t.Errorf("a path without a rule: %+v", e)
	}
}

func TestReasons(t *testing.T) {
	a := given(t, `
path "cap" { capabilities = ["list"] }
path "req" { capabilities = ["update"] required_parameters = ["x"] }
path "par" { capabilities = ["update"] denied_parameters = { x = [] } }
path "wrap" { capabilities = ["update"] min_wrapping_ttl = 1 }
path "deny" { capabilities = ["deny"] }`)
	for path, want := range map[string]policy.Reason{
		"cap": policy.ReasonCapability, "req": policy.ReasonRequired, "par": policy.ReasonParameters,
		"wrap": policy.ReasonWrapping, "deny": policy.ReasonDeny, "none": policy.ReasonNoRule,
	} {
		r := request("update", path, nil)
		if path == "par" {
			body(`{"x": 1}`)(r)
		}
		if got := a.Allow(r).Reason; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestCapabilityNames(t *testing.T) {
	a := given(t, `path "kv/*" { capabilities = ["update", "create", "sudo", "read", "list", "scan", "patch", "delete"] }
path "kv/d" { capabilities = ["read", "deny"] }`)
	for path, want := range map[string][]string{
		"kv/a": {"create", "delete", "list", "patch", "read", "scan", "sudo", "update"},
		"kv/d": {"deny"}, "x": {"deny"}, "kv/dir/": {"create", "delete", "list", "patch", "read", "scan", "sudo", "update"},
	} {
		if got := a.Capabilities(path); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if got := a.Allow(request("read", "kv/a", nil)).Rule.Capabilities().String(); got != "create, delete, list, patch, read, scan, sudo, update" {
		t.Errorf("as text: %s", got)
	}
}

func TestHasAccessBelow(t *testing.T) {
	read, refuse := `{ capabilities = ["read"] }`, `{ capabilities = ["deny"] }`
	for _, c := range []struct {
		policy string
		want   bool
	}{
		{``, false},
		{`path "kv/a/b" ` + read, true},
		{`path "kv/*" ` + read, true},
		{`path "k*" ` + read, true},
		{`path "+/a" ` + read, true},
		{`path "+/+/c*" ` + read, true},
		{`path "kv" ` + read, true},
		{`path "kvx/a" ` + read, false},
		{`path "kv/a" ` + refuse, false},
		{`path "kv/a" {}`, false},
		{`path "kv/*" ` + refuse + `path "*" ` + read, false},
		{`path "kv/*" ` + refuse + `path "+/a" ` + read, false},
		{`path "kv/*" ` + refuse + `path "kv/a" ` + read, true},
		{`path "kv/" ` + refuse + `path "kv/*" ` + read, true},
	} {
		if got := given(t, c.policy).HasAccessBelow("kv/"); got != c.want {
			t.Errorf("%s: %v, want %v", c.policy, got, c.want)
		}
	}
}

func TestResultant(t *testing.T) {
	got := given(t, `path "kv/a" { capabilities = ["read"] } path "kv/*" { capabilities = ["list"] } path "+/x" { capabilities = ["deny"] }`).Resultant()
	capabilities := func(list ...string) any { return map[string]any{"capabilities": list} }
	want := map[string]any{
		"root":        false,
		"exact_paths": map[string]any{"kv/a": capabilities("read")},
		"glob_paths":  map[string]any{"kv/": capabilities("list"), "+/x": capabilities("deny")},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
