package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/token"
)

// anyParam stands for every parameter.
const anyParam = "*"

// params are parameter names, in lower case, and the values each may (or may
// not) have; no values stand for any.
type params map[string][]any

// paramsOf reads an object of lists.
func paramsOf(n ast.Node) (params, error) {
	body, ok := n.(*ast.ObjectType)
	if !ok {
		return nil, fmt.Errorf("expected an object of lists")
	}
	out := make(params, len(body.List.Items))
	for _, item := range body.List.Items {
		list, ok := item.Val.(*ast.ListType)
		if !ok || len(item.Keys) != 1 {
			return nil, fmt.Errorf("expected an object of lists")
		}
		values := make([]any, 0, len(list.List))
		for _, e := range list.List {
			v, err := valueOf(e)
			if err != nil {
				return nil, err
			}
			values = append(values, v)
		}
		out[strings.ToLower(keyText(item, 0))] = values
	}
	return out, nil
}

// valueOf reads a value in the form that JSON decodes to.
func valueOf(n ast.Node) (any, error) {
	t, err := literal(n)
	if err != nil {
		return nil, fmt.Errorf("a parameter's values are strings, numbers and booleans")
	}
	switch v := t.Value().(type) {
	case int64:
		return float64(v), nil
	case string:
		if t.Type == token.STRING || t.Type == token.HEREDOC {
			return v, nil
		}
	case float64, bool:
		return v, nil
	}
	return nil, fmt.Errorf("a parameter's values are strings, numbers and booleans")
}

// merge adds the values of others. A list without values stands for any value
// and stays that.
func (p params) merge(others params) params {
	if p == nil && len(others) > 0 {
		p = make(params, len(others))
	}
	for name, values := range others {
		have, ok := p[name]
		switch {
		case !ok:
			p[name] = values
		case len(values) == 0 || len(have) == 0:
			p[name] = nil
		default:
			p[name] = append(append([]any(nil), have...), values...)
		}
	}
	return p
}

// has reports whether the values of a parameter cover value.
func covers(values []any, value json.RawMessage) bool {
	if len(values) == 0 {
		return true
	}
	var got any
	if err := json.Unmarshal(value, &got); err != nil {
		return false
	}
	for _, want := range values {
		pattern, isText := want.(string)
		text, gotText := got.(string)
		if isText && gotText {
			if globText(pattern, text) {
				return true
			}
		} else if reflect.DeepEqual(want, got) {
			return true
		}
	}
	return false
}

// globText matches a pattern that may begin or end in '*'.
func globText(pattern, text string) bool {
	before, starts := strings.CutPrefix(pattern, "*")
	inner, ends := strings.CutSuffix(before, "*")
	switch {
	case pattern == "*":
		return true
	case starts && ends:
		return strings.Contains(text, inner)
	case starts:
		return strings.HasSuffix(text, inner)
	case ends:
		return strings.HasPrefix(text, inner)
	}
	return pattern == text
}

// refuses returns what is wrong with the parameters of a request, or "".
func (g *grant) refuses(given map[string]json.RawMessage) Reason {
	names := make(map[string]json.RawMessage, len(given))
	for name, value := range given {
		lower := strings.ToLower(name)
		if _, twice := names[lower]; twice && g.restricts() {
			return ReasonParameters // which of the two an engine takes is not ours to guess
		}
		names[lower] = value
	}
	for _, name := range g.required {
		if _, ok := names[name]; !ok {
			return ReasonRequired
		}
	}
	if len(names) == 0 {
		return ""
	}
	if _, all := g.denied[anyParam]; all {
		return ReasonParameters
	}
	_, all := g.allowed[anyParam]
	for name, value := range names {
		if values, ok := g.denied[name]; ok && covers(values, value) {
			return ReasonParameters
		}
		if len(g.allowed) == 0 {
			continue
		}
		if values, ok := g.allowed[name]; ok && !covers(values, value) || !ok && !all {
			return ReasonParameters
		}
	}
	return ""
}

// restricts reports whether parameters matter at all.
func (g *grant) restricts() bool { return len(g.allowed)+len(g.denied)+len(g.required) > 0 }
