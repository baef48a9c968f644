package archtest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/coffer-secrets/coffer/testing/archtest"
)

const root = "../.."

// TestTree holds the sources of this repository to the design.
func TestTree(t *testing.T) {
	t.Parallel()
	files, err := archtest.Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("%d files only: this is not the tree", len(files))
	}
	text, err := os.ReadFile("waivers.txt")
	if err != nil {
		t.Fatal(err)
	}
	waivers, err := archtest.ParseWaivers(string(text))
	if err != nil {
		t.Fatal(err)
	}
	left, stale := archtest.Apply(archtest.Check(files), waivers)
	for _, f := range left {
		t.Error(f)
	}
	for _, s := range stale {
		t.Error(s)
	}
}

// check returns the rules that a file breaks.
func check(t *testing.T, files map[string]string) []string {
	t.Helper()
	tree := make(fstest.MapFS)
	for name, src := range files {
		tree[name] = &fstest.MapFile{Data: []byte(src)}
	}
	parsed, err := archtest.Load(tree)
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, f := range archtest.Check(parsed) {
		if f.Rule != "doc" || files["doc"] != "" {
			rules = append(rules, f.Rule)
		}
	}
	return rules
}

func TestArrows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, to string
		ok       bool
	}{
		{"cmd/coffer/main.go", "http", true},
		{"cmd/coffer/main.go", "engines/kv", true},
		{"cmd/coffer/main.go", "testing/harness", false},
		{"http/server.go", "core", true},
		{"http/server.go", "core/answer", true},
		{"http/server.go", "engines", true},
		{"http/server.go", "engines/kv", false},
		{"http/server.go", "cluster", false},
		{"core/core.go", "fsm", true},
		{"core/core.go", "seal", true},
		{"core/core.go", "seal/transit", false},
		{"core/core.go", "engines/schema", true},
		{"core/core.go", "engines/kv", false},
		{"core/core.go", "http", false},
		{"core/core.go", "cluster", false},
		{"core/state/store.go", "core/mounts", true},
		{"core/core_test.go", "engines/kv", true},
		{"core/core_test.go", "testing/harness", true},
		{"core/core_test.go", "cmd/internal/server", false},
		{"cluster/node.go", "fsm", true},
		{"cluster/node.go", "seal", false},
		{"cluster/node_test.go", "fsm/fsmtest", true},
		{"cluster/node.go", "fsm/fsmtest", false},
		{"fsm/store.go", "fsm/fsmpb", true},
		{"fsm/store.go", "seal", false},
		{"fsm/store.go", "engines", false},
		{"seal/static/static.go", "seal", true},
		{"seal/static/static.go", "fsm", false},
		{"engines/engine.go", "engines/schema", false},
		{"engines/schema/match.go", "engines", true},
		{"engines/schema/match.go", "engines/kv", false},
		{"engines/kv/kv.go", "engines", true},
		{"engines/kv/kv.go", "engines/schema", true},
		{"engines/kv/kv.go", "engines/cubbyhole", false},
		{"engines/kv/kv.go", "core", false},
		{"engines/kv/kv.go", "engines/enginetest", false},
		{"engines/kv/kv_test.go", "engines/enginetest", true},
		{"engines/database/postgres/postgres.go", "engines/database", true},
		{"auth/userpass/userpass.go", "engines", true},
		{"auth/userpass/userpass.go", "auth/token", false},
		{"client/client.go", "core", false},
		{"testing/harness/harness.go", "cluster", true},
		{"surprise/x.go", "core", false},
	} {
		src := fmt.Sprintf("package p\nimport _ %q\n", archtest.Module+"/"+c.to)
		want := []string{"arrow"}
		if c.ok {
			want = nil
		}
		if got := check(t, map[string]string{c.file: src}); !slices.Equal(got, want) {
			t.Errorf("%s imports %s: %q, want %q", c.file, c.to, got, want)
		}
	}
}

func TestUses(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		file, src string
		want      string
	}{
		"exit":                  {"core/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", "exit"},
		"exit in cmd":           {"cmd/coffer/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", ""},
		"fatal":                 {"seal/a.go", "import \"log\"\nfunc f() { log.Fatal(1) }", "exit"},
		"renamed":               {"seal/a.go", "import l \"log\"\nfunc f() { l.Fatalln(1) }", "exit"},
		"background":            {"http/a.go", "import \"context\"\nvar x = context.Background()", "background"},
		"background of a test":  {"http/a_test.go", "import \"context\"\nvar x = context.Background()", ""},
		"sleep":                 {"http/a_test.go", "import \"time\"\nfunc f() { time.Sleep(1) }", "sleep"},
		"sleep without a test":  {"http/a.go", "import \"time\"\nfunc f() { time.Sleep(1) }", ""},
		"skip":                  {"http/a_test.go", "import \"testing\"\nfunc f(t *testing.T) { t.Skip() }", "skip"},
		"skip in a benchmark":   {"http/a_test.go", "import \"testing\"\nfunc f(b *testing.B) { b.Skipf(\"\") }", "skip"},
		"clock":                 {"fsm/a.go", "import \"time\"\nvar x = time.Now()", "determinism"},
		"clock elsewhere":       {"cluster/a.go", "import \"time\"\nvar x = time.Now()", ""},
		"randomness":            {"fsm/a.go", "import _ \"math/rand/v2\"", "determinism"},
		"raft":                  {"fsm/a.go", "import _ \"github.com/hashicorp/raft\"", "determinism"},
		"http":                  {"core/a.go", "import _ \"net/http\"", "http"},
		"http where it belongs": {"seal/transit/a.go", "import _ \"net/http\"", ""},
		"http in a test":        {"seal/a_test.go", "import _ \"net/http\"", ""},
		"left over":             {"core/a.go", "// " + "TO" + "DO: later\nvar x int", "unfinished"},
		"left over in a block":  {"core/a_test.go", "/*\n " + "FIX" + "ME\n*/\nvar x int", "unfinished"},
	} {
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if got := check(t, map[string]string{c.file: "package p\n" + c.src + "\n"}); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	repeat := func(line string, n int) string { return strings.Repeat(line+"\n", n) }
	for what, c := range map[string]struct {
		src  string
		want []string
	}{
		"function at its budget":  {"func f() {\n" + repeat("_ = 1", 58) + "}", nil},
		"long function":           {"func f() {\n" + repeat("_ = 1", 59) + "}", []string{"function"}},
		"file":                    {repeat("// x", 600), []string{"file"}},
		"struct at its budget":    {"type s struct {\n" + repeat("_ int", 20) + "}", nil},
		"struct":                  {"type s struct {\n" + repeat("_ int", 19) + "a, b int\n}", []string{"struct"}},
		"interface at its budget": {"type i interface { A(); B(); C(); D(); E(); F(); G(); H() }", nil},
		"interface":               {"type i interface { A(); B(); C(); D(); E(); F(); G(); H(); I() }", []string{"interface"}},
	} {
		if got := check(t, map[string]string{"core/a.go": "package p\n" + c.src + "\n"}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	generated := "// Code generated by x. DO NOT EDIT.\n\npackage p\n" + repeat("// x", 700)
	if got := check(t, map[string]string{"core/a.go": generated}); got != nil {
		t.Errorf("generated: %q", got)
	}
	many := make(map[string]string)
	for i := range 9 {
		many[fmt.Sprintf("core/f%d.go", i)] = "package p\n" + repeat("// x", 590)
	}
	if got := check(t, many); !slices.Equal(got, []string{"package"}) {
		t.Errorf("big package: %q", got)
	}
}

func TestDoc(t *testing.T) {
	t.Parallel()
	if got := check(t, map[string]string{"core/a.go": "package core\n", "doc": "count"}); !slices.Equal(got, []string{"doc"}) {
		t.Errorf("%q", got)
	}
	if got := check(t, map[string]string{"core/doc.go": "// Package core is.\npackage core\n", "doc": "count"}); got != nil {
		t.Errorf("%q", got)
	}
}

func TestWaivers(t *testing.T) {
	t.Parallel()
	findings := []archtest.Finding{{Rule: "file", Where: "a.go", Size: 700}, {Rule: "exit", Where: "b.go:f"}}
	for _, c := range []struct {
		text        string
		left, stale int
	}{
		{"", 2, 0},
		{"file | a.go | 700 | a table that cannot be divided", 1, 0},
		{"file | a.go | 699 | a table that cannot be divided", 2, 1},
		{"file | a.go | 701 | a table that cannot be divided", 1, 1},
		{"# comment\n\nexit | b.go:f | 0 | it ends the child process", 1, 0},
		{"exit | gone.go:f | 0 | it ends the child process", 2, 1},
	} {
		waivers, err := archtest.ParseWaivers(c.text)
		if err != nil {
			t.Fatal(err)
		}
		left, stale := archtest.Apply(findings, waivers)
		if len(left) != c.left || len(stale) != c.stale {
			t.Errorf("%q leaves %v, stale %q", c.text, left, stale)
		}
	}
	for _, bad := range []string{"file | a.go | 700", "file | a.go | many | a table that cannot be divided", "file | a.go | 700 | no"} {
		if _, err := archtest.ParseWaivers(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
