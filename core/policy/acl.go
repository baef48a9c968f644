package policy

import (
	"maps"
	"slices"
	"strings"

	radix "github.com/hashicorp/go-immutable-radix"
)

// Rule is what the policies of a caller come to for one pattern. It is
// immutable.
type Rule struct {
	pattern
	grant
	// Sources are the blocks that the rule was merged from.
	Sources []Source
}

// Source is where a path block stands. Line is 0 in a policy in JSON.
type Source struct {
	Policy string
	Line   int
	// Path is as written, templates not filled.
	Path string
}

// Path is the rule's pattern, templates filled.
func (r *Rule) Path() string { return r.text }

// Capabilities are those that the rule gives.
func (r *Rule) Capabilities() Capability { return r.caps }

// ACL is the compiled form of policies. It is immutable and safe for concurrent
// use.
type ACL struct {
	root bool
	// exact are the rules without wildcards, prefixes those whose only wildcard
	// is a '*' at the end, by what precedes it; segments are the others, the
	// most specific first.
	exact    map[string]*Rule
	prefixes *radix.Tree
	segments []*Rule
}

// Compile merges policies. resolve fills templates; nil fills none, and a rule
// whose templates cannot be filled is for no path.
func Compile(list []*Policy, resolve Resolver) *ACL {
	a := &ACL{exact: make(map[string]*Rule)}
	merged := make(map[string]*Rule)
	for _, p := range list {
		a.root = a.root || p.root
		for i := range p.rules {
			s := &p.rules[i]
			pat, ok := fill(s.path, resolve)
			if !ok {
				continue
			}
			id := pat.identity()
			rule := merged[id]
			if rule == nil {
				rule = &Rule{pattern: pat}
				merged[id] = rule
			}
			rule.merge(s.grant)
			rule.Sources = append(rule.Sources, Source{Policy: p.Name, Line: s.line, Path: s.written()})
		}
	}
	tree := radix.New().Txn()
	for _, rule := range merged {
		if path, ok := rule.exact(); ok {
			a.exact[path] = rule
		} else if rule.plus == 0 {
			tree.Insert([]byte(rule.literal()), rule)
		} else {
			a.segments = append(a.segments, rule)
		}
	}
	a.prefixes = tree.Commit()
	slices.SortFunc(a.segments, func(x, y *Rule) int { return y.order(&x.pattern) })
	return a
}

// identity is the same for patterns that match the same, however they came to
// be: filled from a template or written out.
func (p *pattern) identity() string {
	var b strings.Builder
	for _, s := range p.segments {
		if s.any {
			b.WriteByte(0)
		}
		b.WriteString(s.text)
		b.WriteByte('/')
	}
	if p.glob {
		b.WriteByte(0)
	}
	return b.String()
}

// merge adds what another block for the same pattern gives. Of wrapping bounds
// the lesser counts, as in Vault.
func (g *grant) merge(other grant) {
	if g.caps&Deny != 0 {
		return
	}
	if other.caps&Deny != 0 {
		*g = grant{caps: Deny}
		return
	}
	g.caps |= other.caps
	g.allowed = g.allowed.merge(other.allowed)
	g.denied = g.denied.merge(other.denied)
	for _, name := range other.required {
		if !slices.Contains(g.required, name) {
			g.required = append(g.required, name)
		}
	}
	if other.minWrap > 0 && (g.minWrap == 0 || other.minWrap < g.minWrap) {
		g.minWrap = other.minWrap
	}
	if other.maxWrap > 0 && (g.maxWrap == 0 || other.maxWrap < g.maxWrap) {
		g.maxWrap = other.maxWrap
	}
}

// IsRoot reports whether everything is allowed.
func (a *ACL) IsRoot() bool { return a.root }

// best returns the most specific rule for a path, or nil.
func (a *ACL) best(path string) *Rule {
	if rule, ok := a.exact[path]; ok {
		return rule
	}
	var found *Rule
	if _, value, ok := a.prefixes.Root().LongestPrefix([]byte(path)); ok {
		found, _ = value.(*Rule)
	}
	for _, rule := range a.segments {
		if found != nil && rule.order(&found.pattern) < 0 {
			break
		}
		if rule.matches(path) {
			return rule
		}
	}
	return found
}

// find returns the rule that decides on a path, or nil. The folder that a
// listing is of may be named by a rule without its slash too; but a deny of
// what is in the folder is not undone by a rule that only names it so.
func (a *ACL) find(path string) *Rule {
	rule := a.best(path)
	bare, folder := strings.CutSuffix(path, "/")
	if !folder || rule != nil && rule.caps&Deny != 0 {
		return rule
	}
	if _, ok := a.exact[path]; ok {
		return rule
	}
	named := a.best(bare)
	switch {
	case named == nil:
		return rule
	case rule == nil:
		return named
	}
	if _, ok := a.exact[bare]; ok || named.order(&rule.pattern) > 0 {
		return named
	}
	return rule
}

// matching lists the rules that match a path, the one that decides first.
func (a *ACL) matching(path string) []*Rule {
	decides := a.find(path)
	bare := strings.TrimSuffix(path, "/")
	var list []*Rule
	for rule := range a.rules() {
		if rule == decides || !rule.matches(path) && (bare == path || !rule.matches(bare)) {
			continue
		}
		list = append(list, rule)
	}
	slices.SortFunc(list, func(x, y *Rule) int { return y.order(&x.pattern) })
	if decides != nil {
		list = append([]*Rule{decides}, list...)
	}
	return list
}

// rules visits every rule, in no order.
func (a *ACL) rules() func(yield func(*Rule) bool) {
	return func(yield func(*Rule) bool) {
		for rule := range maps.Values(a.exact) {
			if !yield(rule) {
				return
			}
		}
		for _, rule := range a.segments {
			if !yield(rule) {
				return
			}
		}
		a.prefixes.Root().Walk(func(_ []byte, value any) bool {
			rule, _ := value.(*Rule)
			return !yield(rule)
		})
	}
}
