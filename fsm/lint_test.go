package fsm_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// forbidden is what would make two replicas differ, or let this package reach
// beyond its store.
var forbidden = []string{"math/rand", "math/rand/v2", "crypto/rand", "net", "net/http", "unsafe"}

// forbiddenTime are the uses of the clock.
var forbiddenTime = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Sleep"}

// TestDeterminism reads the sources of this package: no clock, no randomness,
// no network, and no iteration over a map.
func TestDeterminism(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(set, name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for _, f := range files {
		for _, finding := range lint(set, f) {
			t.Error(finding)
		}
	}
	const bad = `package p
import ("math/rand"; "time")
func f(m map[string]int) { for range m {}; _ = time.Now(); _ = rand.Int() }`
	f, err := parser.ParseFile(set, "bad.go", bad, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := lint(set, f); len(got) != 3 {
		t.Errorf("the lint finds %q in a bad file", got)
	}
}

// lint returns what is wrong in a file. The types of ranged-over expressions
// are worked out as far as they can be without the imports of the file.
func lint(set *token.FileSet, f *ast.File) (findings []string) {
	for _, spec := range f.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err != nil || slices.Contains(forbidden, path) {
			findings = append(findings, set.Position(spec.Pos()).String()+": import of "+path)
		}
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
	conf := types.Config{Importer: importer.Default(), Error: func(error) {}}
	_, _ = conf.Check(f.Name.Name, set, []*ast.File{f}, info) // incomplete on purpose
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(forbiddenTime, n.Sel.Name) {
				findings = append(findings, set.Position(n.Pos()).String()+": time."+n.Sel.Name)
			}
		case *ast.RangeStmt:
			if tv, ok := info.Types[n.X]; ok && tv.Type != nil {
				if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
					findings = append(findings, set.Position(n.Pos()).String()+": iteration over a map")
				}
			}
		}
		return true
	})
	return findings
}
