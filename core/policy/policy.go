package policy

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Root is the name of the policy that allows everything. It has no text.
const Root = "root"

// maxNameBytes bounds a policy's name.
const maxNameBytes = 128

// Policy is a parsed policy.
type Policy struct {
	Name  string
	rules []statement
	root  bool
}

// RootPolicy returns the policy that allows everything.
func RootPolicy() *Policy { return &Policy{Name: Root, root: true} }

// Templated reports whether a path of the policy depends on who the caller is.
func (p *Policy) Templated() bool {
	return slices.ContainsFunc(p.rules, func(s statement) bool {
		return slices.ContainsFunc(s.path, func(part piece) bool { return part.template })
	})
}

// statement is one path block as written.
type statement struct {
	path []piece
	line int
	grant
}

// written is the path as it was written.
func (s *statement) written() string {
	var b strings.Builder
	for _, part := range s.path {
		if part.template {
			b.WriteString("{{" + part.text + "}}")
			continue
		}
		b.WriteString(part.text)
	}
	return b.String()
}

// grant is what a rule gives, apart from where.
type grant struct {
	caps     Capability
	allowed  params
	denied   params
	required []string
	minWrap  time.Duration
	maxWrap  time.Duration
}

// NormalizeName returns the one form of a policy's name: trimmed and in lower
// case. It refuses names that no policy can have.
func NormalizeName(name string) (string, error) {
	valid := utf8.ValidString(name) // lowering would hide that it is not
	name = strings.ToLower(strings.TrimSpace(name))
	switch {
	case name == "":
		return "", errors.New("it is empty")
	case len(name) > maxNameBytes:
		return "", errors.New("it is longer than 128 bytes")
	case !valid:
		return "", errors.New("it is not UTF-8")
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '/' || r == '\\' }):
		return "", errors.New("it contains a slash, a backslash or a control character")
	}
	return name, nil
}
