package archtest

import (
	"go/ast"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ban is a call, or a use, that some files may not have.
type ban struct {
	rule string
	// pkg is the import path; "" stands for a method of that name.
	pkg   string
	names []string
	in    func(f *File) bool
	text  string
}

func inCommand(f *File) bool { return under(f.Dir(), "cmd") }
func inTesting(f *File) bool { return under(f.Dir(), "testing") }
func inTests(f *File) bool   { return f.Test || inTesting(f) }
func inFSM(f *File) bool     { return under(f.Dir(), "fsm") && !f.Test }
func library(f *File) bool   { return !f.Test && !inCommand(f) && !inTesting(f) }
func test(f *File) bool      { return f.Test }

var bans = []ban{
	{"exit", "os", []string{"Exit"}, library, "only cmd ends the process"},
	{"exit", "log", []string{"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"}, library, "only cmd ends the process"},
	{"background", "context", []string{"Background", "TODO"}, library, "the context comes from the caller"},
	{"sleep", "time", []string{"Sleep"}, test, "a test waits for what it waits for, not for a while"},
	{"skip", "", []string{"Skip", "Skipf", "SkipNow"}, inTests, "a test that does not run shows nothing"},
	{"determinism", "time", []string{
		"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Sleep",
	}, inFSM, "the state machine has no clock"},
}

// calls looks for what a file may not use.
func calls(f *File) (findings []Finding) {
	names := importNames(f.ast)
	function := ""
	check := func(n *ast.SelectorExpr) {
		ident, plain := n.X.(*ast.Ident)
		pkg := ""
		if plain {
			pkg = names[ident.Name]
		}
		for _, b := range bans {
			if b.in(f) && b.pkg == pkg && slices.Contains(b.names, n.Sel.Name) && (b.pkg != "" || plain && isTest(ident.Name)) {
				findings = append(findings, Finding{
					Rule: b.rule, Where: f.Path + ":" + function, Line: f.line(n.Pos()), Text: n.Sel.Name + ": " + b.text,
				})
			}
		}
	}
	for _, d := range f.ast.Decls {
		function = ""
		if fn, ok := d.(*ast.FuncDecl); ok {
			function = functionName(fn)
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				check(s)
			}
			return true
		})
	}
	return findings
}

// isTest says that a variable is a test, as far as its name does.
func isTest(name string) bool { return slices.Contains([]string{"t", "b", "f", "tb"}, name) }

// importNames maps the names under which a file knows packages to their paths.
func importNames(file *ast.File) map[string]string {
	names := make(map[string]string)
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // it would not have parsed
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	return names
}

// unfinished is spelt so that it does not find itself.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)

// comments looks for what was left for later.
func comments(f *File) (findings []Finding) {
	if f.Generated {
		return nil
	}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			for i, text := range strings.Split(c.Text, "\n") {
				if unfinished.MatchString(text) {
					findings = append(findings, Finding{
						Rule: "unfinished", Where: f.Path, Line: f.line(c.Pos()) + i, Text: "what is left to do is done, or filed as an issue",
					})
				}
			}
		}
	}
	return findings
}
