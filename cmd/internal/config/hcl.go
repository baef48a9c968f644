package config

import (
	"errors"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"
)

func parseHCL(file string, text []byte) (value, error) {
	at := place{file: file, line: 1}
	if err := checkNesting(text); err != nil {
		return value{}, at.errorf("%w", err)
	}
	// Duplicates are found later, where a message can name file and line.
	tree, err := parser.ParseDontErrorOnDuplicateKeys(text)
	if err != nil {
		var positioned *parser.PosError
		if errors.As(err, &positioned) {
			return value{}, place{file: file, line: positioned.Pos.Line}.errorf("%s", positioned.Err)
		}
		return value{}, at.errorf("%s", err)
	}
	root, ok := tree.Node.(*ast.ObjectList)
	if !ok {
		return value{}, at.errorf("the file is not well-formed HCL")
	}
	return hclObject(at, root)
}

// checkNesting bounds how deeply the parser recurses. It counts brackets in
// strings and comments too, which a configuration has few of.
func checkNesting(text []byte) error {
	depth := 0
	for _, c := range text {
		switch c {
		case '{', '[':
			if depth++; depth > 8*maxDepth {
				return errDeep
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

func hclObject(at place, items *ast.ObjectList) (value, error) {
	out := value{place: at, kind: object}
	for _, item := range items.Items {
		if len(item.Keys) == 0 {
			return value{}, at.errorf("a block without a name")
		}
		inner, err := hclValue(at.file, item.Val)
		if err != nil {
			return value{}, err
		}
		// From the inside out: storage "raft" {…} is storage holding raft.
		for i := len(item.Keys) - 1; i >= 0; i-- {
			name, err := hclText(at.file, item.Keys[i].Token)
			if err != nil {
				return value{}, err
			}
			e := entry{
				place: place{file: at.file, line: item.Keys[i].Pos().Line},
				name:  name, value: inner, block: inner.kind == object && !item.Assign.IsValid(),
			}
			if i == 0 {
				out.entries = append(out.entries, e)
				break
			}
			inner = value{place: e.place, kind: object, entries: []entry{e}}
		}
	}
	return out, nil
}

func hclValue(file string, node ast.Node) (value, error) {
	at := place{file: file, line: node.Pos().Line}
	switch n := node.(type) {
	case *ast.LiteralType:
		text, err := hclText(file, n.Token)
		return value{place: at, text: text, quoted: n.Token.Type == token.STRING || n.Token.Type == token.HEREDOC}, err
	case *ast.ObjectType:
		return hclObject(at, n.List)
	case *ast.ListType:
		out := value{place: at, kind: list}
		for _, item := range n.List {
			inner, err := hclValue(file, item)
			if err != nil {
				return value{}, err
			}
			out.list = append(out.list, inner)
		}
		return out, nil
	}
	return value{}, at.errorf("expected a value")
}

// hclText is a token as text. Numbers stay as they were written: whoever wants
// one parses it.
func hclText(file string, t token.Token) (text string, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = place{file: file, line: t.Pos.Line}.errorf("the text is not well-formed")
		}
	}()
	switch t.Type {
	case token.STRING, token.HEREDOC:
		text, _ = t.Value().(string)
		return text, nil
	}
	return t.Text, nil
}
