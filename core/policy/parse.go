package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/token"
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
	if err := checkNesting(text); err != nil {
		return nil, err
	}
	file, err := hcl.Parse(text)
	if err != nil {
		return nil, err
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, fmt.Errorf("a policy is a list of path blocks")
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
			return nil, fmt.Errorf("line %d: invalid key %q: a policy is made of path blocks", item.Pos().Line, clip(key))
		}
	}
	return p, nil
}

// checkNesting bounds how deep the parser will descend.
func checkNesting(text string) error {
	depth := 0
	for _, c := range []byte(text) {
		switch c {
		case '{', '[':
			if depth++; depth > maxNesting {
				return fmt.Errorf("the policy is nested more than %d deep", maxNesting)
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// addPaths adds a path block: in HCL `path "x" {}`, in JSON also an object of
// several paths.
func (p *Policy) addPaths(item *ast.ObjectItem) error {
	if len(item.Keys) == 2 {
		return p.addRule(keyText(item, 1), item, item.Val)
	}
	body, ok := item.Val.(*ast.ObjectType)
	if !ok || len(item.Keys) != 1 {
		return fmt.Errorf("line %d: a path block has one path and a body", item.Pos().Line)
	}
	for _, inner := range body.List.Items {
		if len(inner.Keys) != 1 {
			return fmt.Errorf("line %d: a path block has one path and a body", inner.Pos().Line)
		}
		if err := p.addRule(keyText(inner, 0), inner, inner.Val); err != nil {
			return err
		}
	}
	return nil
}

func (p *Policy) addRule(path string, at *ast.ObjectItem, val ast.Node) error {
	if len(p.rules) >= maxRules {
		return fmt.Errorf("a policy may have at most %d path blocks", maxRules)
	}
	s := statement{line: at.Pos().Line}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("line %d: path %q: %w", s.line, clip(path), fmt.Errorf(format, args...))
	}
	body, ok := val.(*ast.ObjectType)
	if !ok {
		return fail("the block needs a body in braces")
	}
	var err error
	if s.path, err = parsePath(path); err != nil {
		return fail("%w", err)
	}
	for _, item := range body.List.Items {
		if err := s.set(keyText(item, 0), item); err != nil {
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
		c, ok := capabilityOf(name)
		if !ok {
			return fmt.Errorf("invalid capability %q", clip(name))
		}
		s.caps |= c
	}
	return nil
}

// keyText is the i-th key of an item, unquoted.
func keyText(item *ast.ObjectItem, i int) string {
	if i >= len(item.Keys) {
		return ""
	}
	text, _ := item.Keys[i].Token.Value().(string)
	return text
}

func literal(n ast.Node) (token.Token, error) {
	l, ok := n.(*ast.LiteralType)
	if !ok {
		return token.Token{}, fmt.Errorf("expected a single value")
	}
	return l.Token, nil
}

func stringOf(n ast.Node) (string, error) {
	t, err := literal(n)
	if err != nil {
		return "", err
	}
	text, ok := t.Value().(string)
	if !ok {
		return "", fmt.Errorf("expected a string")
	}
	return text, nil
}

func stringsOf(n ast.Node) ([]string, error) {
	list, ok := n.(*ast.ListType)
	if !ok {
		return nil, fmt.Errorf("expected a list of strings")
	}
	out := make([]string, 0, len(list.List))
	for _, e := range list.List {
		text, err := stringOf(e)
		if err != nil {
			return nil, fmt.Errorf("expected a list of strings")
		}
		out = append(out, text)
	}
	return out, nil
}

// durationOf reads seconds as a number or a string, or a Go duration.
func durationOf(n ast.Node) (time.Duration, error) {
	t, err := literal(n)
	if err != nil {
		return 0, err
	}
	text := fmt.Sprint(t.Value())
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
