package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
)

// anyParam stands for every parameter.
const anyParam = "*"

// params are parameter names, in lower case, and the values each may (or may
// not) have; no values stand for any.
type params map[string][]any

var (
	errLists  = errors.New("expected an object of lists")
	errValues = errors.New("a parameter's values are strings, numbers and booleans")
)

// paramsOf reads an object of lists.
func paramsOf(n ast.Node) (params, error) {
	body, ok := n.(*ast.ObjectType)
	if !ok {
		return nil, errLists
	}
	out := make(params, len(body.List.Items))
	for _, item := range body.List.Items {
		list, ok := item.Val.(*ast.ListType)
		if !ok || len(item.Keys) != 1 {
			return nil, errLists
		}
		name := strings.ToLower(keyText(item, 0))
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("parameter %q is named twice", clip(name))
		}
		values := make([]any, 0, len(list.List))
		for _, e := range list.List {
			v, err := valueOf(e)
			if err != nil {
				return nil, err
			}
			values = append(values, v)
		}
		out[name] = values
	}
	return out, nil
}

// valueOf reads a value in the form that JSON decodes to.
func valueOf(n ast.Node) (any, error) {
	value, err := literal(n)
	if err != nil {
		return nil, errValues
	}
	if whole, ok := value.(int64); ok {
		return float64(whole), nil
	}
	return value, nil
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

// covers reports whether the values of a parameter cover value.
func covers(values []any, value json.RawMessage) bool {
	if len(values) == 0 {
		return true
	}
	var got any
	if err := json.Unmarshal(value, &got); err != nil {
		return false
	}
	return slices.ContainsFunc(values, func(want any) bool { return same(want, got) })
}

func same(want, got any) bool {
	pattern, isText := want.(string)
	text, gotText := got.(string)
	if isText && gotText {
		return globText(pattern, text)
	}
	return want == got
}

// touches is covers for values that are forbidden. What an engine would take
// for such a value is one: the same in another type, or as a part of a list,
// which may be a text with commas too.
func touches(values []any, value json.RawMessage) bool {
	if len(values) == 0 {
		return true
	}
	var got any
	if err := json.Unmarshal(value, &got); err != nil {
		return true
	}
	return slices.ContainsFunc(values, func(want any) bool { return holds(want, got) })
}

func holds(want, got any) bool {
	if list, ok := got.([]any); ok {
		return slices.ContainsFunc(list, func(item any) bool { return holds(want, item) })
	}
	pattern, text := plain(want), plain(got)
	if globText(pattern, text) {
		return true
	}
	for part := range strings.SplitSeq(text, ",") {
		if globText(pattern, strings.TrimSpace(part)) {
			return true
		}
	}
	return false
}

// plain is a value as text. Objects have none that a rule could name.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
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

// refuses returns what is wrong with the parameters of a request, whose names
// are in lower case, or "".
func (g *grant) refuses(names map[string]json.RawMessage) Reason {
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
		if values, ok := g.denied[name]; ok && touches(values, value) {
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
