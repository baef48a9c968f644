package oidc

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/engines"
)

// maxExpressions bounds what one template asks for.
const maxExpressions = 256

// A template is JSON in which {{expressions}} stand for values. Each expression
// is put in the place of a string that nobody can guess, the text is read as
// JSON, and the strings are replaced in what was read: an expression is a whole
// value, and a value cannot become anything but that.
type template struct {
	tree  map[string]any
	marks map[string]string // expression by the string that stands for it
}

// parseTemplate reads a template, which may be in base64. Empty makes no claims.
func parseTemplate(text string) (*template, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxTemplate {
		return nil, engines.Invalidf("template: longer than %d bytes", maxTemplate)
	}
	if text != "" && text[0] != '{' {
		if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
			text = strings.TrimSpace(string(decoded))
		}
	}
	t := &template{marks: make(map[string]string)}
	if text == "" {
		return t, nil
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	mark := hex.EncodeToString(id[:]) + "-"
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{{")
		out.WriteString(before)
		if !found {
			break
		}
		expr, after, closed := strings.Cut(rest, "}}")
		if !closed || len(t.marks) >= maxExpressions {
			return nil, engines.Invalidf("error parsing template JSON: an expression is not closed, or there are more than %d", maxExpressions)
		}
		if expr = strings.TrimSpace(expr); !knownExpression(expr) {
			return nil, engines.Invalidf("template: an expression is unknown: see the documentation for those there are")
		}
		name := mark + strconv.Itoa(len(t.marks))
		t.marks[name] = expr
		out.WriteString(`"` + name + `"`)
		text = after
	}
	decoder := json.NewDecoder(strings.NewReader(out.String()))
	decoder.UseNumber()
	if err := decoder.Decode(&t.tree); err != nil || t.tree == nil {
		return nil, engines.Invalidf("error parsing template JSON: expected an object in which each expression is a whole value, without quotes")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, engines.Invalidf("error parsing template JSON: something follows the object")
	}
	if namesMark(t.tree, t.marks) {
		return nil, engines.Invalidf("template: an expression cannot be the name of a claim")
	}
	return t, nil
}

func namesMark(v any, marks map[string]string) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if _, ok := marks[name]; ok || namesMark(value, marks) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return namesMark(item, marks) })
	}
	return false
}

// checkTemplate parses a template and refuses claims that tokens rest on.
func checkTemplate(text string, reserved []string) error {
	t, err := parseTemplate(text)
	if err != nil {
		return err
	}
	for name := range t.tree {
		if slices.Contains(reserved, name) {
			return engines.Invalidf("top level key %q not allowed. Restricted keys: %s", name, strings.Join(reserved, ", "))
		}
	}
	return nil
}

// claims are the template's claims of somebody, or of nobody if h is nil.
func (t *template) claims(h *identity.Holder, now time.Time) map[string]any {
	filled, _ := t.fill(t.tree, h, now).(map[string]any)
	return filled
}

func (t *template) fill(v any, h *identity.Holder, now time.Time) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			out[name] = t.fill(value, h, now)
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			out = append(out, t.fill(item, h, now))
		}
		return out
	case string:
		if expr, ok := t.marks[v]; ok {
			return evaluate(expr, h, now)
		}
	}
	return v
}

const (
	aliasesPrefix = "identity.entity.aliases."
	metaPrefix    = "identity.entity.metadata."
)

func knownExpression(expr string) bool {
	switch expr {
	case "identity.entity.id", "identity.entity.name", "identity.entity.metadata", "identity.entity.groups.ids",
		"identity.entity.groups.names", "time.now":
		return true
	}
	if key, ok := strings.CutPrefix(expr, metaPrefix); ok {
		return key != ""
	}
	if rest, ok := strings.CutPrefix(expr, aliasesPrefix); ok {
		accessor, what, _ := strings.Cut(rest, ".")
		switch kind, key, keyed := strings.Cut(what, "."); kind {
		case "id", "name":
			return accessor != "" && !keyed
		case "metadata", "custom_metadata":
			return accessor != "" && (!keyed || key != "")
		}
		return false
	}
	_, ok := shift(expr)
	return ok
}

// shift reads time.now.plus.<duration> and time.now.minus.<duration>.
func shift(expr string) (time.Duration, bool) {
	back := false
	text, ok := strings.CutPrefix(expr, "time.now.plus.")
	if !ok {
		back = true
		if text, ok = strings.CutPrefix(expr, "time.now.minus."); !ok {
			return 0, false
		}
	}
	d, ok := engines.ParseSeconds(text)
	ok = ok && text != "" && d >= 0
	if back {
		d = -d
	}
	return d, ok
}

// evaluate gives an expression's value. What is not there is empty, of the type
// that it would have.
func evaluate(expr string, h *identity.Holder, now time.Time) any {
	if expr == "time.now" {
		return now.Unix()
	}
	if d, ok := shift(expr); ok {
		return now.Add(d).Unix()
	}
	nobody := &identity.Entity{}
	e := nobody
	var groups []*identity.Group
	if h != nil {
		e, groups = h.Entity, h.Groups()
	}
	switch expr {
	case "identity.entity.id":
		return e.ID
	case "identity.entity.name":
		return e.Name
	case "identity.entity.metadata":
		return pairs(e.Metadata)
	case "identity.entity.groups.ids", "identity.entity.groups.names":
		out := make([]string, 0, len(groups))
		for _, g := range groups {
			if expr == "identity.entity.groups.ids" {
				out = append(out, g.ID)
			} else {
				out = append(out, g.Name)
			}
		}
		return out
	}
	if key, ok := strings.CutPrefix(expr, metaPrefix); ok {
		return e.Metadata[key]
	}
	return ofAlias(strings.TrimPrefix(expr, aliasesPrefix), h)
}

func ofAlias(expr string, h *identity.Holder) any {
	accessor, what, _ := strings.Cut(expr, ".")
	a := &identity.Alias{}
	if h != nil {
		if found := h.Alias(accessor); found != nil {
			a = found
		}
	}
	kind, key, keyed := strings.Cut(what, ".")
	from := a.Metadata
	switch kind {
	case "id":
		return a.ID
	case "name":
		return a.Name
	case "custom_metadata":
		from = a.Custom
	}
	if keyed {
		return from[key]
	}
	return pairs(from)
}

func pairs(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// merge adds claims to others; false if both have one of them.
func merge(into, claims map[string]any) bool {
	for name, value := range claims {
		if old, ok := into[name]; ok && !same(old, value) {
			return false
		}
		into[name] = value
	}
	return true
}

func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
