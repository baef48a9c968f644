package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
)

// Module is the path of the module whose arrows are checked.
const Module = "github.com/coffer-secrets/coffer"

// File is one source file.
type File struct {
	// Path is relative to the root of the tree, with slashes.
	Path      string
	Test      bool
	Generated bool
	Lines     int

	set *token.FileSet
	ast *ast.File
	src string
}

// Dir is the folder of the file, relative to the root.
func (f *File) Dir() string { return path.Dir(f.Path) }

func (f *File) line(p token.Pos) int { return f.set.Position(p).Line }

// lines counts the lines from one position to another, both included.
func (f *File) lines(from, to token.Pos) int { return f.line(to) - f.line(from) + 1 }

// Load parses all Go files of a tree, but those of testdata and of hidden
// folders. It fails on one that does not parse.
func Load(tree fs.FS) ([]*File, error) {
	var files []*File
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "dist"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		f, err := parse(tree, name)
		if err == nil {
			files = append(files, f)
		}
		return err
	})
	return files, err
}

func parse(tree fs.FS, name string) (*File, error) {
	src, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &File{
		Path: name, Test: strings.HasSuffix(name, "_test.go"), Generated: ast.IsGenerated(parsed),
		Lines: strings.Count(string(src), "\n"), set: set, ast: parsed, src: string(src),
	}, nil
}
