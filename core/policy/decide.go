package policy

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// Request is what shall be decided on.
type Request struct {
	// Path is canonical; that of a folder ends in a slash.
	Path string
	// Op is the one capability that the operation needs.
	Op Capability
	// WrapTTL is how long the answer shall be wrapped; 0 for not at all.
	WrapTTL time.Duration
	// Parameters are the members of the body, Query those of the query string.
	Parameters map[string]json.RawMessage
	Query      url.Values
}

// Reason says why a request was denied. It is empty if it was not.
type Reason string

// The reasons.
const (
	ReasonNoRule     Reason = "no rule is for this path"
	ReasonDeny       Reason = "a rule denies this path"
	ReasonCapability Reason = "the rule for this path does not give the capability"
	ReasonWrapping   Reason = "the rule for this path asks for another wrapping TTL"
	ReasonRequired   Reason = "the rule for this path requires a parameter that is missing"
	ReasonParameters Reason = "the rule for this path does not allow a parameter or its value"
)

// Decision is the answer to a request, with its reasons.
type Decision struct {
	Allowed bool
	// Root says that a root policy allowed it, Sudo that the rule gives sudo.
	Root bool
	Sudo bool
	// Rule is the one that decided; nil if there is none, or for root.
	Rule   *Rule
	Reason Reason
}

// Allow decides on a request.
func (a *ACL) Allow(r *Request) Decision {
	if a.root {
		return Decision{Allowed: true, Root: true, Sudo: true}
	}
	rule := a.find(r.Path)
	if rule == nil {
		return Decision{Reason: ReasonNoRule}
	}
	d := Decision{Rule: rule, Sudo: rule.caps&Sudo != 0, Reason: rule.judge(r)}
	d.Allowed = d.Reason == ""
	return d
}

// judge returns why a rule denies a request, or "".
func (r *Rule) judge(q *Request) Reason {
	switch {
	case r.caps&Deny != 0:
		return ReasonDeny
	case q.Op == 0 || r.caps&q.Op != q.Op:
		return ReasonCapability
	case r.maxWrap > 0 && (q.WrapTTL <= 0 || q.WrapTTL > r.maxWrap), r.minWrap > 0 && q.WrapTTL < r.minWrap:
		return ReasonWrapping
	case !r.restricts() || q.Op&(Create|Update|Patch|Read) == 0:
		return ""
	}
	given, once := q.parameters()
	if !once {
		return ReasonParameters
	}
	return r.refuses(given)
}

// parameters are all that came with the request, by names in lower case. What
// only says which operation is meant is none. It is false if a name came twice:
// which of the two an engine takes is not to be guessed here.
func (q *Request) parameters() (all map[string]json.RawMessage, once bool) {
	all = make(map[string]json.RawMessage, len(q.Parameters)+len(q.Query))
	add := func(name string, value json.RawMessage) bool {
		name = strings.ToLower(name)
		_, twice := all[name]
		all[name] = value
		return !twice
	}
	for name, value := range q.Parameters {
		if !add(name, value) {
			return nil, false
		}
	}
	for name, values := range q.Query {
		switch name {
		case "list", "scan", "help":
			continue
		}
		// A name given several times makes a list, of which all counts.
		var given any = values
		if len(values) == 1 {
			given = values[0]
		}
		value, err := json.Marshal(given)
		if err != nil || !add(name, value) {
			return nil, false
		}
	}
	return all, true
}

// Explanation is a decision with the rules that matched too and lost.
type Explanation struct {
	Decision
	Lost []*Rule
}

// Explain decides as Allow does, and tells more.
func (a *ACL) Explain(r *Request) Explanation {
	e := Explanation{Decision: a.Allow(r)}
	if list := a.matching(r.Path); len(list) > 0 {
		e.Lost = list[1:]
	}
	return e
}

// Sudo reports whether the rule for a path gives sudo.
func (a *ACL) Sudo(path string) bool {
	if a.root {
		return true
	}
	rule := a.find(path)
	return rule != nil && rule.caps&(Sudo|Deny) == Sudo
}

// Denies reports whether a rule denies a path, whatever is asked of it.
func (a *ACL) Denies(path string) bool {
	if a.root {
		return false
	}
	rule := a.find(path)
	return rule != nil && rule.caps&Deny != 0
}

// Capabilities lists what may be done on a path: "root", "deny", or the names
// of capabilities, sorted.
func (a *ACL) Capabilities(path string) []string {
	if a.root {
		return []string{Root}
	}
	rule := a.find(path)
	if rule == nil {
		return Capability(0).Names()
	}
	return rule.caps.Names()
}

// HasAccessBelow reports whether anything may be done with a folder, whose path
// ends in a slash, or with something below it.
func (a *ACL) HasAccessBelow(dir string) bool {
	if a.root {
		return true
	}
	decides := a.find(dir)
	if decides != nil && decides.gives() {
		return true
	}
	for rule := range a.rules() {
		if !rule.gives() || !rule.reaches(dir) {
			continue
		}
		// A glob that decides on the folder does so on all below it, but for
		// what a more specific rule is for.
		if decides == nil || !decides.glob || rule.order(&decides.pattern) > 0 {
			return true
		}
	}
	return false
}

// gives reports whether the rule allows anything.
func (r *Rule) gives() bool { return r.caps != 0 && r.caps&Deny == 0 }

// Resultant shows the rules in the form that Vault's page expects.
func (a *ACL) Resultant() map[string]any {
	exact, glob := make(map[string]any), make(map[string]any)
	for rule := range a.rules() {
		entry := map[string]any{"capabilities": rule.caps.Names()}
		if _, ok := rule.exact(); ok {
			exact[rule.Path()] = entry
			continue
		}
		path := rule.Path()
		if rule.glob {
			path = path[:len(path)-1]
		}
		glob[path] = entry
	}
	return map[string]any{"root": a.root, "exact_paths": exact, "glob_paths": glob}
}
