package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/scanner"
	"github.com/hashicorp/hcl/hcl/token"
	jsonscanner "github.com/hashicorp/hcl/json/scanner"
	jsontoken "github.com/hashicorp/hcl/json/token"
)

// Bounds of a policy's text.
const (
	maxNesting = 16
	maxRules   = 4096
	maxPath    = 2048
)

// Parse reads a policy in HCL or JSON. Its errors tell the line and are safe to
// show to who wrote the policy.
func Parse(name, text string) (*Policy, error) {
	list, err := Objects(text)
	if err != nil {
		return nil, err
	}
	p := &Policy{Name: name}
	for _, item := range list.Items {
		switch key := keyText(item, 0); {
		case key == "name" && len(item.Keys) == 1:
		case key == "path":
			if err := p.addPaths(item); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%sinvalid key %q: a policy is made of path blocks", at(item), clip(key))
		}
	}
	return p, nil
}

// Objects reads HCL or JSON of bounded depth, as policies of any kind are
// written in.
func Objects(text string) (*ast.ObjectList, error) {
	if err := checkNesting(text); err != nil {
		return nil, err
	}
	file, err := read(text)
	if err != nil {
		return nil, err
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, errors.New("a policy is a list of blocks")
	}
	return list, nil
}

// errUnreadable is for a value that the HCL library panics on rather than
// refuse, such as a number out of range.
var errUnreadable = errors.New("the value cannot be read")

// read parses the text as HCL or, if it begins with a brace, JSON.
func read(text string) (file *ast.File, err error) {
	defer refusePanic(&err)
	return hcl.Parse(text)
}

// refusePanic makes an error of what the library panics on, in its scanners
// too, such as an escape that the text ends in.
func refusePanic(err *error) {
	if recover() != nil {
		*err = errors.New("the policy cannot be read")
	}
}

// checkNesting bounds how deep the parser, which recurses, will descend. It
// reads the tokens that the parser will see: a bracket in a string or a comment
// is none.
func checkNesting(text string) (err error) {
	defer refusePanic(&err)
	scan := tokens(text)
	for depth := 0; ; {
		switch open, done := scan(); {
		case done:
			return nil
		case open > 0 && depth >= maxNesting:
			return fmt.Errorf("the policy is nested more than %d deep", maxNesting)
		default:
			depth = max(0, depth+open)
		}
	}
}

// tokens returns a function that tells of one token after the other: 1 for an
// opening bracket, -1 for a closing one, 0 for any other.
func tokens(text string) func() (open int, done bool) {
	if strings.HasPrefix(strings.TrimLeftFunc(text, unicode.IsSpace), "{") {
		s := jsonscanner.New([]byte(text))
		s.Error = func(jsontoken.Pos, string) {} // the parser will say so
		return func() (int, bool) {
			switch s.Scan().Type {
			case jsontoken.EOF:
				return 0, true
			case jsontoken.LBRACE, jsontoken.LBRACK:
				return 1, false
			case jsontoken.RBRACE, jsontoken.RBRACK:
				return -1, false
			}
			return 0, false
		}
	}
	s := scanner.New([]byte(strings.ReplaceAll(text, "\r\n", "\n")))
	s.Error = func(token.Pos, string) {}
	return func() (int, bool) {
		switch s.Scan().Type {
		case token.EOF:
			return 0, true
		case token.LBRACE, token.LBRACK:
			return 1, false
		case token.RBRACE, token.RBRACK:
			return -1, false
		}
		return 0, false
	}
}

// addPaths adds a path block: in HCL `path "x" {}`, in JSON also an object of
// several paths.
func (p *Policy) addPaths(item *ast.ObjectItem) error {
	if len(item.Keys) == 2 {
		return p.addRule(keyText(item, 1), item, item.Val)
	}
	body, ok := item.Val.(*ast.ObjectType)
	if !ok || len(item.Keys) != 1 {
		return fmt.Errorf("%sa path block has one path and a body", at(item))
	}
	for _, inner := range body.List.Items {
		if len(inner.Keys) != 1 {
			return fmt.Errorf("%sa path block has one path and a body", at(inner))
		}
		if err := p.addRule(keyText(inner, 0), inner, inner.Val); err != nil {
			return err
		}
	}
	return nil
}

// at is how an error begins that is about an item. The parser of JSON tells no
// lines.
func at(item *ast.ObjectItem) string {
	if line := item.Pos().Line; line > 0 {
		return fmt.Sprintf("line %d: ", line)
	}
	return ""
}

func (p *Policy) addRule(path string, item *ast.ObjectItem, val ast.Node) error {
	if len(p.rules) >= maxRules {
		return fmt.Errorf("a policy may have at most %d path blocks", maxRules)
	}
	s := statement{line: item.Pos().Line}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%spath %q: %w", at(item), clip(path), fmt.Errorf(format, args...))
	}
	body, ok := val.(*ast.ObjectType)
	if !ok {
		return fail("the block needs a body in braces")
	}
	var err error
	if s.path, err = parsePath(path); err != nil {
		return fail("%w", err)
	}
	seen := make(map[string]bool, len(body.List.Items))
	for _, item := range body.List.Items {
		key := keyText(item, 0)
		if seen[key] {
			return fail("%q is set twice", clip(key)) // to take either could widen what was meant
		}
		seen[key] = true
		if err := s.set(key, item); err != nil {
			return fail("%w", err)
		}
	}
	if s.minWrap > 0 && s.maxWrap > 0 && s.maxWrap < s.minWrap {
		return fail("max_wrapping_ttl cannot be less than min_wrapping_ttl")
	}
	if s.caps&Deny != 0 {
		s.grant = grant{caps: Deny}
	}
	p.rules = append(p.rules, s)
	return nil
}

// set reads one attribute of a path block.
func (s *statement) set(key string, item *ast.ObjectItem) (err error) {
	switch key {
	case "policy":
		text, err := stringOf(item.Val)
		caps, ok := legacy[text]
		if err != nil || !ok {
			return fmt.Errorf("invalid policy %q: it is deny, read, write or sudo", clip(text))
		}
		s.caps |= caps
	case "capabilities":
		return s.addCapabilities(item.Val)
	case "allowed_parameters":
		s.allowed, err = paramsOf(item.Val)
	case "denied_parameters":
		s.denied, err = paramsOf(item.Val)
	case "required_parameters":
		if s.required, err = stringsOf(item.Val); err == nil {
			for i, name := range s.required {
				s.required[i] = strings.ToLower(name)
			}
		}
	case "min_wrapping_ttl":
		s.minWrap, err = durationOf(item.Val)
	case "max_wrapping_ttl":
		s.maxWrap, err = durationOf(item.Val)
	case "comment":
		_, err = stringOf(item.Val)
	default:
		return fmt.Errorf("invalid key %q", clip(key))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func (s *statement) addCapabilities(val ast.Node) error {
	names, err := stringsOf(val)
	if err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for _, name := range names {
		c, ok := CapabilityOf(name)
		if !ok {
			return fmt.Errorf("invalid capability %q", clip(name))
		}
		s.caps |= c
	}
	return nil
}

// keyText is the i-th key of an item, unquoted; "" if there is none.
func keyText(item *ast.ObjectItem, i int) string {
	if i >= len(item.Keys) {
		return ""
	}
	value, err := valueIn(item.Keys[i].Token)
	text, ok := value.(string)
	if err != nil || !ok {
		return ""
	}
	return text
}

// valueIn is the value of a token.
func valueIn(t token.Token) (value any, err error) {
	defer func() {
		if recover() != nil {
			value, err = nil, errUnreadable
		}
	}()
	return t.Value(), nil
}

// literal is a single value: a string, an int64, a float64 or a bool.
func literal(n ast.Node) (any, error) {
	l, ok := n.(*ast.LiteralType)
	if !ok {
		return nil, errors.New("expected a single value")
	}
	return valueIn(l.Token)
}

func stringOf(n ast.Node) (string, error) {
	value, err := literal(n)
	if err != nil {
		return "", err
	}
	text, ok := value.(string)
	if !ok {
		return "", errors.New("expected a string")
	}
	return text, nil
}

func stringsOf(n ast.Node) ([]string, error) {
	list, ok := n.(*ast.ListType)
	if !ok {
		return nil, errors.New("expected a list of strings")
	}
	out := make([]string, 0, len(list.List))
	for _, e := range list.List {
		text, err := stringOf(e)
		if err != nil {
			return nil, errors.New("expected a list of strings")
		}
		out = append(out, text)
	}
	return out, nil
}

// durationOf reads seconds as a number or a string, or a Go duration.
func durationOf(n ast.Node) (time.Duration, error) {
	value, err := literal(n)
	if err != nil {
		return 0, err
	}
	text := fmt.Sprint(value)
	d, err := time.ParseDuration(text)
	if seconds, numErr := strconv.ParseInt(text, 10, 32); numErr == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("expected a duration such as \"90s\"")
	}
	return d, nil
}

// clip keeps what was written from filling an error.
func clip(text string) string {
	const most = 128
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}
