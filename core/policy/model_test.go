package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core/policy"
)

// model decides as Vault's documentation says, slowly: all rules in a list,
// matched by regular expressions, sorted by the rules as documented.
type model struct{ rules []modelRule }

type modelRule struct {
	path   string
	caps   []string
	denied bool
	expr   *regexp.Regexp
}

func (m *model) add(path string, caps []string) {
	for i := range m.rules {
		if r := &m.rules[i]; r.path == path {
			r.caps = append(slices.Clone(r.caps), caps...)
			r.denied = r.denied || slices.Contains(caps, "deny")
			return
		}
	}
	body, glob := strings.CutSuffix(path, "*")
	parts := strings.Split(body, "/")
	for i, part := range parts {
		if parts[i] = regexp.QuoteMeta(part); part == "+" {
			parts[i] = "[^/]*"
		}
	}
	expr := "(?s)^" + strings.Join(parts, "/")
	if !glob {
		expr += "$"
	}
	m.rules = append(m.rules, modelRule{path, caps, slices.Contains(caps, "deny"), regexp.MustCompile(expr)})
}

// firstWildcard is where the first '+' segment or the '*' at the end stands.
func firstWildcard(path string) int {
	at := 0
	for part := range strings.SplitSeq(path, "/") {
		if part == "+" {
			return at
		}
		at += len(part) + 1
	}
	if strings.HasSuffix(path, "*") {
		return len(path) - 1
	}
	return len(path) + 1
}

func pluses(path string) int {
	n := 0
	for part := range strings.SplitSeq(path, "/") {
		if part == "+" {
			n++
		}
	}
	return n
}

// lower reports whether p has lower priority than q.
func lower(p, q string) bool {
	if a, b := firstWildcard(p), firstWildcard(q); a != b {
		return a < b
	}
	if a, b := strings.HasSuffix(p, "*"), strings.HasSuffix(q, "*"); a != b {
		return a
	}
	if a, b := pluses(p), pluses(q); a != b {
		return a > b
	}
	if len(p) != len(q) {
		return len(p) < len(q)
	}
	return p < q
}

func literal(path string) bool { return !strings.HasSuffix(path, "*") && pluses(path) == 0 }

// best is the matching rule with the highest priority, or nil.
func (m *model) best(path string) *modelRule {
	var found *modelRule
	for i := range m.rules {
		r := &m.rules[i]
		if r.expr.MatchString(path) && (found == nil || lower(found.path, r.path)) {
			found = r
		}
	}
	return found
}

// decides is best, but a folder may be named without its slash too.
func (m *model) decides(path string) *modelRule {
	of := m.best(path)
	bare, folder := strings.CutSuffix(path, "/")
	if !folder || of != nil && (of.denied || literal(of.path)) {
		return of
	}
	named := m.best(bare)
	if of == nil || named == nil {
		if of == nil {
			return named
		}
		return of
	}
	if literal(named.path) || lower(of.path, named.path) {
		return named
	}
	return of
}

func (m *model) allows(op, path string) bool {
	r := m.decides(path)
	return r != nil && !r.denied && slices.Contains(r.caps, op)
}

// draw makes random policies and paths of few letters, so that they meet often.
type draw struct{ *rand.Rand }

func (d draw) pick(list ...string) string { return list[d.IntN(len(list))] }

func (d draw) rule() string {
	var parts []string
	for range 1 + d.IntN(4) {
		parts = append(parts, d.pick("a", "a", "b", "ab", "+", "+", "*", "a+", "é"))
	}
	path := strings.Join(parts, "/")
	switch d.IntN(4) {
	case 0:
		path += "/*"
	case 1:
		path += "/"
	case 2:
		path += d.pick("*", "a*")
	}
	if strings.Contains(path, "+*") {
		return d.rule()
	}
	return path
}

func (d draw) path() string {
	var parts []string
	for range 1 + d.IntN(5) {
		parts = append(parts, d.pick("a", "a", "b", "ab", "aa", "+", "*", "é", "a+"))
	}
	path := strings.Join(parts, "/")
	if d.IntN(3) == 0 {
		path += "/"
	}
	return path
}

func (d draw) capabilities() []string {
	if d.IntN(5) == 0 {
		return []string{"deny"}
	}
	var caps []string
	for _, op := range []string{"create", "read", "update", "delete", "list", "scan", "patch", "sudo"} {
		if d.IntN(2) == 0 {
			caps = append(caps, op)
		}
	}
	return caps
}

// policies draws texts of policies and their model.
func (d draw) policies(count, rules int) ([]string, *model) {
	m := new(model)
	texts := make([]string, count)
	for i := range texts {
		for range 1 + d.IntN(rules) {
			path, caps := d.rule(), d.capabilities()
			m.add(path, caps)
			texts[i] += block(path, caps)
		}
	}
	return texts, m
}

func block(path string, caps []string) string {
	list, err := json.Marshal(append([]string{}, caps...))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("path %q { capabilities = %s }\n", path, list)
}

func seeded(t *testing.T, n int, test func(d draw)) {
	t.Helper()
	for seed := range uint64(n) {
		test(draw{rand.New(rand.NewPCG(seed, 7))})
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func TestAgainstModel(t *testing.T) {
	t.Parallel()
	seeded(t, 1500, func(d draw) {
		texts, m := d.policies(1+d.IntN(3), 8)
		a := given(t, texts...)
		for range 40 {
			path := d.path()
			for op := range operations {
				if got, want := a.Allow(request(op, path, nil)).Allowed, m.allows(op, path); got != want {
					t.Errorf("%s %q: %v, want %v by %+v\n%s", op, path, got, want, m.decides(path), strings.Join(texts, "--\n"))
				}
			}
			if got, want := a.Sudo(path), m.allows("sudo", path); got != want {
				t.Errorf("sudo of %q: %v, want %v\n%s", path, got, want, strings.Join(texts, "--\n"))
			}
		}
	})
}

// All ways to ask give the same answer.
func TestAnswersAgree(t *testing.T) {
	t.Parallel()
	seeded(t, 500, func(d draw) {
		texts, _ := d.policies(2, 6)
		a := given(t, texts...)
		for range 30 {
			path := d.path()
			caps := a.Capabilities(path)
			for op := range operations {
				r := request(op, path, nil)
				decision := a.Allow(r)
				if decision.Allowed != slices.Contains(caps, op) {
					t.Errorf("%s %q: %v, but the capabilities are %v", op, path, decision.Allowed, caps)
				}
				if e := a.Explain(r); e.Allowed != decision.Allowed || e.Rule != decision.Rule || e.Reason != decision.Reason || slices.Contains(e.Lost, decision.Rule) {
					t.Errorf("%s %q: decided %+v, explained %+v", op, path, decision, e)
				}
			}
			dir := d.pick("a/", "b/", "a/a/", "é/")
			if !a.HasAccessBelow(dir) && strings.HasPrefix(path, dir) && len(caps) > 0 && caps[0] != "deny" {
				t.Errorf("nothing below %q, but %q: %v\n%s", dir, path, caps, strings.Join(texts, "--\n"))
			}
		}
	})
}

// A deny that decides on a path ends all that can be done there, whatever else
// a caller holds but a more specific rule: neither it nor its name is reached.
func TestDenyWins(t *testing.T) {
	t.Parallel()
	seeded(t, 1000, func(d draw) {
		texts, m := d.policies(2, 6)
		path := strings.TrimSuffix(d.path(), "/")
		deny := d.pick(path, strings.ToValidUTF8(path[:len(path)/2], "")+"*", strings.TrimSuffix(path, "a")+"*")
		if strings.Contains(deny, "+*") {
			return
		}
		m.add(deny, []string{"deny"})
		a := given(t, append(texts, block(deny, []string{"deny"}))...)
		if by := m.best(path); by == nil || by.path != deny {
			return
		}
		for op := range operations {
			a.deny(op, path)
		}
		if a.Sudo(path) {
			t.Errorf("sudo of %q under a deny of %q", path, deny)
		}
		if strings.HasSuffix(deny, "/*") {
			dir := strings.TrimSuffix(deny, "*")
			if by := m.best(dir); by.path == deny {
				a.deny("list", dir)
				a.deny("scan", dir)
			}
		}
	})
}

// Holding more policies gives nothing that none of them gives: what is allowed,
// a block of one of the rule's sources allows alone.
func TestSumOfPolicies(t *testing.T) {
	t.Parallel()
	seeded(t, 1000, func(d draw) {
		texts, _ := d.policies(3, 5)
		all := given(t, texts...)
		for range 30 {
			path := d.path()
			for op := range operations {
				r := request(op, path, nil)
				decision := all.Allow(r)
				if decision.Allowed && !slices.ContainsFunc(decision.Rule.Sources, func(s policy.Source) bool {
					line := strings.Split(texts[s.Policy[0]-'a'], "\n")[s.Line-1]
					return given(t, line).Allow(r).Allowed
				}) {
					t.Errorf("%s %q is allowed by the sum only: %s", op, path, decision.Rule.Path())
				}
			}
		}
	})
}

// With the same patterns in each and nothing denied, a part of the policies
// never allows more than all.
func TestSubsetOfGrants(t *testing.T) {
	t.Parallel()
	seeded(t, 500, func(d draw) {
		patterns := []string{d.rule(), d.rule(), d.rule(), d.rule()}
		var texts []string
		for range 3 {
			text := ""
			for _, pattern := range patterns {
				caps := d.capabilities()
				if slices.Contains(caps, "deny") {
					caps = nil
				}
				text += block(pattern, caps)
			}
			texts = append(texts, text)
		}
		all, part := given(t, texts...), given(t, texts[:1+d.IntN(2)]...)
		for range 30 {
			path := d.path()
			for op := range operations {
				if r := request(op, path, nil); part.Allow(r).Allowed && !all.Allow(r).Allowed {
					t.Errorf("%s %q is allowed to the part only", op, path)
				}
			}
		}
	})
}
