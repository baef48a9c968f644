package archtest

import (
	"slices"
	"strconv"
	"strings"
)

// arrow says what the packages under a folder may import of this module.
type arrow struct {
	from string
	// to are folders; "..." at the end takes in what is below.
	to []string
	// own says that it may import what lies below its own folder.
	own bool
}

// contract is what an engine, and who calls one, knows of engines.
var contract = []string{"engines", "engines/schema"}

// arrows are those of the design, the narrowest folder first. What is not named
// may not import anything of the module.
var arrows = []arrow{
	{from: "testing", to: []string{"..."}},
	{from: "cmd", to: []string{
		"cmd/...", "http/...", "core/...", "engines/...", "auth/...", "fsm/...", "cluster/...", "seal/...", "client/...", "crash",
	}},
	{from: "http", to: append([]string{"core/...", "seal", "fsm"}, contract...), own: true},
	// The system's paths show who is locked out, and unlock them.
	{from: "core", to: append([]string{"fsm", "fsm/fsmpb", "seal", "auth/lockout", "crash"}, contract...), own: true},
	{from: "cluster", to: []string{"fsm", "fsm/fsmpb", "crash"}, own: true},
	{from: "fsm", own: true},
	{from: "seal", own: true},
	{from: "client", own: true},
	{from: "engines/schema", to: []string{"engines"}},
	{from: "engines/enginetest", to: contract},
	{from: "engines/usernames"},
	{from: "engines/outcomes", to: []string{"engines"}},
	{from: "engines/recurring", to: []string{"engines"}},
	{from: "engines/*", to: append([]string{"engines/usernames", "engines/outcomes", "engines/recurring"}, contract...), own: true},
	{from: "engines"},
	{from: "auth/lockout", to: []string{"engines"}},
	{from: "auth/*", to: append([]string{"auth", "auth/lockout", "auth/signed", "auth/upstream", "engines/tokenparams"}, contract...), own: true},
	{from: "auth", to: append([]string{"engines/tokenparams"}, contract...)},
}

// kits are packages for tests, which only tests may import.
var kits = []string{"testing/...", "engines/enginetest", "fsm/fsmtest"}

// speaksHTTP are the folders that know HTTP: what stands above it, and what
// reaches the outside over it.
var speaksHTTP = []string{
	"http", "cmd", "client", "testing", "cluster/wire", "seal/transit", "core/audit/post", "engines/aws", "engines/database", "engines/pki", "auth/cert", "auth/jwt", "auth/kubernetes", "auth/upstream",
}

// imports checks the imports of one file.
func imports(f *File) (findings []Finding) {
	for _, spec := range f.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // it would not have parsed
		}
		report := func(rule, text string) {
			findings = append(findings, Finding{Rule: rule, Where: f.Path, Line: f.line(spec.Pos()), Text: text})
		}
		to, internal := strings.CutPrefix(name, Module+"/")
		switch {
		case internal && !allowed(f, to):
			report("arrow", f.Dir()+" may not import "+to)
		case f.Test:
		case name == "net/http" && !slices.ContainsFunc(speaksHTTP, func(dir string) bool { return under(f.Dir(), dir) }):
			report("http", "nothing below http knows HTTP")
		case under(f.Dir(), "fsm") && !under(f.Dir(), "fsm/fsmtest") && unsound(name):
			report("determinism", "the state machine may not use "+name)
		}
	}
	return findings
}

// unsound are packages that would make two replicas differ, or reach beyond
// their store.
func unsound(name string) bool {
	return strings.HasPrefix(name, "math/rand") || name == "crypto/rand" || name == "net" || strings.HasPrefix(name, "net/") ||
		strings.HasPrefix(name, "github.com/hashicorp/raft")
}

func allowed(f *File, to string) bool {
	if f.Test {
		return !under(to, "cmd") || under(f.Dir(), "cmd") // a test may put the parts together itself
	}
	if matches(kits, to) {
		return under(f.Dir(), "testing") || under(f.Dir(), to)
	}
	for _, a := range arrows {
		if own, ok := a.holds(f.Dir()); ok {
			return a.own && under(to, own) || matches(a.to, to)
		}
	}
	return false
}

// holds reports whether the arrow is that of a folder, and which folder is its
// own: with "engines/*" that of its engine.
func (a arrow) holds(dir string) (own string, ok bool) {
	base, each := strings.CutSuffix(a.from, "/*")
	if !each {
		return base, under(dir, base)
	}
	rest, ok := strings.CutPrefix(dir, base+"/")
	first, _, _ := strings.Cut(rest, "/")
	return base + "/" + first, ok
}

// under reports whether a folder is another one or lies below it.
func under(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

func matches(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if base, deep := strings.CutSuffix(p, "..."); deep {
			return base == "" || under(dir, strings.TrimSuffix(base, "/"))
		}
		return dir == p
	})
}
