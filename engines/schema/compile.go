package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// maxCaptures bounds the captures of one pattern.
const maxCaptures = 8

// Compiled is a table whose patterns are arranged for matching. It is
// immutable and safe for concurrent use.
type Compiled struct {
	table *engines.Table
	root  *node
}

// Table returns the table that was compiled. It must not be changed.
func (c *Compiled) Table() *engines.Table { return c.table }

// plan is what decoding needs of a route, worked out once.
type plan struct {
	route    *engines.Route
	captures []string
	rest     bool // the last capture spans segments
	// body is the name of the field that takes the whole body, or empty.
	body     string
	defaults map[string]any
}

// node is a place in the tree of patterns, one level per segment.
type node struct {
	literal map[string]*node
	capture *node
	// leaf ends here; rest takes one or more further segments.
	leaf, rest *plan
	// optional is rest if it also takes none.
	optional *plan
}

// Compile checks a table and prepares it for matching. It refuses patterns
// that fit the same paths, captures that are no fields, routes without help or
// operations, an operation offered twice, defaults of the wrong Go type, and
// anything the contract does not define.
func Compile(t *engines.Table) (*Compiled, error) {
	c := &Compiled{table: t, root: &node{}}
	var errs []error
	for i := range t.Routes {
		route := &t.Routes[i]
		segments, err := parsePattern(route.Pattern)
		if err == nil {
			err = checkRoute(route)
		}
		var p *plan
		if err == nil {
			p, err = makePlan(route, segments)
		}
		if err == nil {
			err = c.insert(segments, p)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("route %q: %w", route.Pattern, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// segmentKind orders segments as they win: lower first.
type segmentKind uint8

const (
	literalSegment segmentKind = iota
	captureSegment
	restSegment
	optionalSegment
)

type segment struct {
	kind segmentKind
	text string // the literal, or the name of the capture
}

func parsePattern(pattern string) ([]segment, error) {
	if pattern == "" {
		return nil, nil
	}
	parts := strings.Split(pattern, "/")
	segments := make([]segment, 0, len(parts))
	for i, part := range parts {
		s, err := parseSegment(part)
		if err != nil {
			return nil, err
		}
		if s.kind >= restSegment && i != len(parts)-1 {
			return nil, errors.New("{name...} is not the last segment")
		}
		segments = append(segments, s)
	}
	return segments, nil
}

func parseSegment(part string) (segment, error) {
	if part == "" {
		return segment{}, errors.New("empty segment")
	}
	if !strings.ContainsAny(part, "{}") {
		return segment{kind: literalSegment, text: part}, nil
	}
	name, opened := strings.CutPrefix(part, "{")
	name, closed := strings.CutSuffix(name, "}")
	if !opened || !closed {
		return segment{}, fmt.Errorf("segment %q is neither literal nor a capture", part)
	}
	kind := captureSegment
	if cut, ok := strings.CutSuffix(name, "...?"); ok {
		kind, name = optionalSegment, cut
	} else if cut, ok := strings.CutSuffix(name, "..."); ok {
		kind, name = restSegment, cut
	}
	if !isName(name) {
		return segment{}, fmt.Errorf("capture %q has no proper name", part)
	}
	return segment{kind: kind, text: name}, nil
}

// isName reports whether s is made of a-z, 0-9 and _ alone.
func isName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	}) < 0
}

func checkRoute(route *engines.Route) error {
	if strings.TrimSpace(route.Help) == "" {
		return errors.New("no help")
	}
	if len(route.Ops) == 0 {
		return errors.New("no operations")
	}
	seen := map[engines.Operation]bool{}
	for _, op := range route.Ops {
		if op.Do < engines.Read || op.Do > engines.Help {
			return fmt.Errorf("operation %d is unknown", op.Do)
		}
		if seen[op.Do] {
			return fmt.Errorf("two operations %q", op.Do)
		}
		seen[op.Do] = true
		if op.Trait > engines.Issues {
			return fmt.Errorf("operation %q has the unknown trait %d", op.Do, op.Trait)
		}
		if op.Handler == nil {
			return fmt.Errorf("operation %q has no handler", op.Do)
		}
	}
	return checkFields(route.Fields)
}

func checkFields(fields []engines.Field) error {
	seen := map[string]bool{}
	whole := false
	for i := range fields {
		f := &fields[i]
		if f.Name == "" || seen[f.Name] {
			return fmt.Errorf("field %q is unnamed or doubled", f.Name)
		}
		seen[f.Name] = true
		if err := checkField(f); err != nil {
			return fmt.Errorf("field %q: %w", f.Name, err)
		}
		if f.Body && whole {
			return errors.New("two fields take the whole body")
		}
		whole = whole || f.Body
	}
	return nil
}

func checkField(f *engines.Field) error {
	switch {
	case f.Type > engines.Time:
		return fmt.Errorf("type %d is unknown", f.Type)
	case strings.TrimSpace(f.Help) == "":
		return errors.New("no help")
	case len(f.Allowed) > 0 && f.Type != engines.String:
		return errors.New("allowed values are for strings")
	case f.Signed && f.Type != engines.Seconds:
		return errors.New("only seconds are signed")
	case f.Body && f.Type != engines.Map:
		return errors.New("only a map takes the whole body")
	case f.Default != nil && !hasType(f.Default, f.Type):
		return fmt.Errorf("default is a %T, which is not how %s is kept", f.Default, f.Type)
	}
	if text, ok := f.Default.(string); ok && len(f.Allowed) > 0 && !slices.Contains(f.Allowed, text) {
		return errors.New("default is not an allowed value")
	}
	return nil
}

// hasType reports whether v has the dynamic type that the getters of
// engines.Values name for t.
func hasType(v any, t engines.FieldType) bool {
	ok := false
	switch t {
	case engines.String:
		_, ok = v.(string)
	case engines.Int:
		_, ok = v.(int64)
	case engines.Float:
		_, ok = v.(float64)
	case engines.Bool:
		_, ok = v.(bool)
	case engines.Seconds:
		_, ok = v.(time.Duration)
	case engines.Strings:
		_, ok = v.([]string)
	case engines.Ints:
		_, ok = v.([]int64)
	case engines.KVPairs:
		_, ok = v.(map[string]string)
	case engines.Map:
		_, ok = v.(map[string]json.RawMessage)
	case engines.JSON:
		_, ok = v.(json.RawMessage)
	case engines.Time:
		_, ok = v.(time.Time)
	}
	return ok
}

func makePlan(route *engines.Route, segments []segment) (*plan, error) {
	p := &plan{route: route}
	for _, s := range segments {
		if s.kind == literalSegment {
			continue
		}
		if slices.Contains(p.captures, s.text) {
			return nil, fmt.Errorf("two captures %q", s.text)
		}
		at := slices.IndexFunc(route.Fields, func(f engines.Field) bool { return f.Name == s.text })
		if at < 0 {
			return nil, fmt.Errorf("capture %q is no field", s.text)
		}
		if t := route.Fields[at].Type; t != engines.String && t != engines.Int {
			return nil, fmt.Errorf("capture %q is neither a string nor an integer", s.text)
		}
		p.captures = append(p.captures, s.text)
		p.rest = s.kind >= restSegment
	}
	if len(p.captures) > maxCaptures {
		return nil, fmt.Errorf("more than %d captures", maxCaptures)
	}
	for _, f := range route.Fields {
		if f.Body {
			p.body = f.Name
		}
		if f.Default != nil {
			if p.defaults == nil {
				p.defaults = map[string]any{}
			}
			p.defaults[f.Name] = f.Default
		}
	}
	return p, nil
}

func (c *Compiled) insert(segments []segment, p *plan) error {
	at := c.root
	for _, s := range segments {
		switch s.kind {
		case literalSegment:
			next, ok := at.literal[s.text]
			if !ok {
				next = &node{}
				if at.literal == nil {
					at.literal = map[string]*node{}
				}
				at.literal[s.text] = next
			}
			at = next
		case captureSegment:
			if at.capture == nil {
				at.capture = &node{}
			}
			at = at.capture
		default:
			if at.rest != nil {
				return fmt.Errorf("fits the same paths as %q", at.rest.route.Pattern)
			}
			at.rest = p
			if s.kind == optionalSegment {
				at.optional = p
			}
			return nil
		}
	}
	if at.leaf != nil {
		return fmt.Errorf("fits the same paths as %q", at.leaf.route.Pattern)
	}
	at.leaf = p
	return nil
}
