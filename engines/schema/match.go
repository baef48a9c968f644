package schema

import (
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// Capture is one segment, or the rest, of a path by the name that the pattern
// gives it.
type Capture struct{ Name, Value string }

// Match is the route that a path belongs to. The zero value matches nothing.
type Match struct {
	Route    *engines.Route
	Captures []Capture
	// Folder says that the path ended in a slash. A {name...} keeps the slash
	// in its capture; elsewhere it is dropped.
	Folder bool

	plan *plan
}

// Match finds the route of path, which is canonical, relative to the mount and
// may end in a slash. A path with an empty segment matches nothing.
func (c *Compiled) Match(path string) (Match, bool) {
	trimmed := strings.TrimSuffix(path, "/")
	folder := len(trimmed) != len(path)
	if folder && trimmed == "" || strings.HasPrefix(path, "/") || strings.Contains(path, "//") {
		return Match{}, false
	}
	s := search{path: path}
	p := s.find(c.root, 0, len(trimmed))
	if p == nil {
		return Match{}, false
	}
	m := Match{Route: p.route, Folder: folder, plan: p}
	if len(p.captures) > 0 {
		m.Captures = make([]Capture, len(p.captures))
		for i, name := range p.captures {
			m.Captures[i] = Capture{Name: name, Value: s.values[i]}
		}
	}
	return m, true
}

// search holds what the branch that is being tried has captured.
type search struct {
	path   string
	values [maxCaptures]string
	n      int
}

// find matches path[from:end], where path may have a slash after end.
func (s *search) find(at *node, from, end int) *plan {
	if from >= end {
		if at.leaf != nil {
			return at.leaf
		}
		if at.optional != nil {
			s.push("")
		}
		return at.optional
	}
	stop, next := end, end
	if i := strings.IndexByte(s.path[from:end], '/'); i >= 0 {
		stop, next = from+i, from+i+1
	}
	text := s.path[from:stop]
	if child := at.literal[text]; child != nil {
		if p := s.find(child, next, end); p != nil {
			return p
		}
	}
	// A pattern has at most maxCaptures captures, so a deeper branch than that
	// does not exist and push cannot run over.
	mark := s.n
	if at.capture != nil {
		s.push(text)
		if p := s.find(at.capture, next, end); p != nil {
			return p
		}
		s.n = mark
	}
	if at.rest != nil {
		s.push(s.path[from:])
	}
	return at.rest
}

func (s *search) push(value string) {
	s.values[s.n] = value
	s.n++
}

// Op returns the route's operation for what is asked. Create and Update stand
// for each other if only one of them is offered. A path that ends in a slash
// names a folder, which can only be listed, scanned or explained.
func (m Match) Op(op engines.Operation) (*engines.Op, bool) {
	if m.Route == nil {
		return nil, false
	}
	if m.Folder && op != engines.List && op != engines.Scan && op != engines.Help {
		return nil, false
	}
	var other engines.Operation
	switch op {
	case engines.Create:
		other = engines.Update
	case engines.Update:
		other = engines.Create
	}
	var fallback *engines.Op
	for i := range m.Route.Ops {
		switch m.Route.Ops[i].Do {
		case op:
			return &m.Route.Ops[i], true
		case other:
			fallback = &m.Route.Ops[i]
		}
	}
	return fallback, fallback != nil
}
