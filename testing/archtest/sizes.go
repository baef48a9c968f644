package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
)

// The budgets. They are not raised: what does not fit is divided, or waived
// with a reason.
const (
	MaxFunctionLines    = 60
	MaxFileLines        = 600
	MaxStructFields     = 20
	MaxInterfaceMethods = 8
	MaxPackageLines     = 5000 // without tests
)

// sizes measures one file. Functions and files of tests are as long as their
// story.
func sizes(f *File) (findings []Finding) {
	over := func(rule, name string, at token.Pos, size, budget int, what string) {
		if size <= budget {
			return
		}
		finding := Finding{Rule: rule, Where: f.Path, Size: size, Text: fmt.Sprintf("%d %s, the budget is %d", size, what, budget)}
		if name != "" {
			finding.Where, finding.Line = f.Path+":"+name, f.line(at)
		}
		findings = append(findings, finding)
	}
	if !f.Test {
		over("file", "", token.NoPos, f.Lines, MaxFileLines, "lines")
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Body != nil && !f.Test {
				over("function", functionName(n), n.Pos(), f.lines(n.Pos(), n.End()), MaxFunctionLines, "lines")
			}
		case *ast.TypeSpec:
			switch t := n.Type.(type) {
			case *ast.StructType:
				over("struct", n.Name.Name, n.Pos(), fields(t.Fields), MaxStructFields, "fields")
			case *ast.InterfaceType:
				over("interface", n.Name.Name, n.Pos(), methods(t.Methods), MaxInterfaceMethods, "methods")
			}
		}
		return true
	})
	return findings
}

// fields counts names, since `A, B string` are two.
func fields(list *ast.FieldList) (n int) {
	for _, f := range list.List {
		n += max(1, len(f.Names))
	}
	return n
}

// methods leaves out what is embedded, which has a budget of its own.
func methods(list *ast.FieldList) (n int) {
	for _, f := range list.List {
		n += len(f.Names)
	}
	return n
}

func functionName(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return d.Name.Name
	}
	receiver := d.Recv.List[0].Type
	for {
		switch t := receiver.(type) {
		case *ast.StarExpr:
			receiver = t.X
		case *ast.IndexExpr:
			receiver = t.X
		case *ast.IndexListExpr:
			receiver = t.X
		case *ast.Ident:
			return t.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// packages measures whole packages, and looks for their doc.go.
func packages(files []*File) (findings []Finding) {
	lines, documented, code := make(map[string]int), make(map[string]bool), make(map[string]bool)
	for _, f := range files {
		if f.Test {
			continue
		}
		code[f.Dir()] = true
		if !f.Generated {
			lines[f.Dir()] += f.Lines
		}
		if path.Base(f.Path) == "doc.go" && f.ast.Doc != nil {
			documented[f.Dir()] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(code)) {
		if size := lines[dir]; size > MaxPackageLines {
			findings = append(findings, Finding{
				Rule: "package", Where: dir, Size: size, Text: fmt.Sprintf("%d lines, the budget is %d", size, MaxPackageLines),
			})
		}
		if !documented[dir] {
			findings = append(findings, Finding{Rule: "doc", Where: dir, Text: "no doc.go that says what the package is"})
		}
	}
	return findings
}
