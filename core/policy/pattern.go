package policy

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// piece is a part of a rule's path: literal text, or a template's expression.
type piece struct {
	text     string
	template bool
}

// parsePath splits a rule's path into literal text and templates.
func parsePath(path string) ([]piece, error) {
	path = strings.TrimPrefix(path, "/")
	switch {
	case len(path) > maxPath:
		return nil, fmt.Errorf("the path is longer than %d bytes", maxPath)
	case !utf8.ValidString(path):
		return nil, errors.New("the path is not UTF-8")
	case strings.ContainsFunc(path, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return nil, errors.New("the path contains a control character")
	case strings.Contains(path, "+*"):
		return nil, errors.New("invalid use of wildcards: '+*' is forbidden")
	}
	var pieces []piece
	for path != "" {
		before, rest, found := strings.Cut(path, "{{")
		if before != "" {
			pieces = append(pieces, piece{text: before})
		}
		if !found {
			break
		}
		expr, after, closed := strings.Cut(rest, "}}")
		if expr = strings.TrimSpace(expr); !closed || expr == "" {
			return nil, errors.New("a template is {{name}}")
		}
		pieces = append(pieces, piece{text: expr, template: true})
		path = after
	}
	return pieces, nil
}

// segment is one part of a pattern between slashes.
type segment struct {
	text string
	any  bool
}

// pattern is a compiled path. It is compared by its fields, never by a text in
// which what a template was filled with could act as a wildcard.
type pattern struct {
	segments []segment
	// glob says that the last segment is only how the rest begins.
	glob bool
	// text is the pattern as written, templates filled. It is shown, and never
	// matched.
	text string
	// wild is how many bytes precede the first wildcard; plus counts the
	// segments that stand for any.
	wild, plus int
}

// Resolver gives the value of a template's expression, and false if it has none.
type Resolver func(expr string) (string, bool)

// fill builds the pattern of a path. It is false if a template has no value, or
// one that could not be a part of a segment: then the rule is for no path.
func fill(path []piece, resolve Resolver) (pattern, bool) {
	var p pattern
	var current segment
	var shown strings.Builder
	filled := false // the current segment holds a template's value
	end := func() {
		if current.text == "+" && !filled {
			current = segment{any: true}
		}
		p.segments = append(p.segments, current)
		current, filled = segment{}, false
	}
	for i, part := range path {
		text := part.text
		if part.template {
			value, ok := "", false
			if resolve != nil {
				value, ok = resolve(part.text)
			}
			if !ok || !fillable(value) {
				return pattern{}, false
			}
			current.text += value
			filled = true
			shown.WriteString(value)
			continue
		}
		shown.WriteString(text)
		if i == len(path)-1 {
			text, p.glob = strings.CutSuffix(text, "*")
		}
		for at, s := range strings.Split(text, "/") {
			if at > 0 {
				end()
			}
			current.text += s
		}
	}
	end()
	p.text = shown.String()
	p.measure()
	return p, true
}

// fillable reports whether a template's value can be a part of one segment.
func fillable(value string) bool {
	return value != "" && value != "." && value != ".." && utf8.ValidString(value) &&
		!strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '/' || r == '\\' })
}

// measure counts what the order of patterns needs.
func (p *pattern) measure() {
	length := 0
	p.wild = -1
	for i, s := range p.segments {
		if i > 0 {
			length++
		}
		if s.any {
			if p.wild < 0 {
				p.wild = length
			}
			p.plus++
			length++
		}
		length += len(s.text)
	}
	if p.wild < 0 {
		p.wild = length
	}
}

// exact reports whether the pattern is one path, which it then returns.
func (p *pattern) exact() (string, bool) { return p.literal(), !p.glob && p.plus == 0 }

// literal joins the segments; meaningful without segments that stand for any.
func (p *pattern) literal() string {
	var b strings.Builder
	for i, s := range p.segments {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(s.text)
	}
	return b.String()
}

// matches reports whether a path is one of the pattern's.
func (p *pattern) matches(path string) bool {
	last := len(p.segments) - 1
	for i, s := range p.segments {
		if i == last && p.glob {
			return s.any || strings.HasPrefix(path, s.text)
		}
		part, rest, more := strings.Cut(path, "/")
		if !s.any && part != s.text || more == (i == last) {
			return false
		}
		path = rest
	}
	return true
}

// reaches reports whether the pattern may match something below a folder, whose
// path ends in a slash.
func (p *pattern) reaches(dir string) bool {
	last := len(p.segments) - 1
	for i, s := range p.segments {
		if dir == "" {
			return true
		}
		if i == last && p.glob {
			return s.any || strings.HasPrefix(dir, s.text) || strings.HasPrefix(s.text, dir)
		}
		part, rest, _ := strings.Cut(dir, "/")
		if !s.any && part != s.text {
			return false
		}
		dir = rest
	}
	return false
}

// order compares how specific two patterns are: the greater one decides. The
// rules are Vault's: a later first wildcard, no '*' at the end, fewer '+', more
// bytes, and at last the order of the bytes.
//
// Patterns that still tie were filled from templates with a '+': they are told
// apart too, so that every node decides alike.
func (p *pattern) order(q *pattern) int {
	by := cmp.Or(
		cmp.Compare(p.wild, q.wild),
		cmp.Compare(truth(q.glob), truth(p.glob)),
		cmp.Compare(q.plus, p.plus),
		cmp.Compare(len(p.text), len(q.text)),
		cmp.Compare(p.text, q.text),
	)
	if by == 0 && p != q {
		by = cmp.Compare(p.identity(), q.identity())
	}
	return by
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
