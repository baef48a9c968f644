package mfa

import (
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// rules are the methods and enforcements of one state of the table.
type rules struct {
	index        uint64
	methods      map[string]*Method
	enforcements []*Enforcement // by name
}

// at returns the rules as a transaction sees them.
func (m *MFA) at(tx *state.Tx) (*rules, error) {
	index := tx.TableIndex(state.Factors)
	current := m.current.Load()
	if current != nil && current.index == index {
		return current, nil
	}
	fresh, err := readRules(tx, index)
	if err == nil && (current == nil || current.index < index) && !tx.Dirty() {
		m.current.CompareAndSwap(current, fresh)
	}
	return fresh, err
}

func readRules(tx *state.Tx, index uint64) (*rules, error) {
	out := &rules{index: index, methods: make(map[string]*Method)}
	r := region(tx)
	ids, err := r.List(methodDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		method := new(Method)
		if ok, err := load(r, methodDir+id, method); err != nil {
			return nil, err
		} else if ok {
			out.methods[id] = method
		}
	}
	names, err := r.List(enforcementDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		e := new(Enforcement)
		if ok, err := load(r, enforcementDir+name, e); err != nil {
			return nil, err
		} else if ok {
			out.enforcements = append(out.enforcements, e)
		}
	}
	slices.SortFunc(out.enforcements, func(a, b *Enforcement) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Need is what a login has to prove: each enforcement by one of its methods.
type Need struct {
	rules        *rules
	enforcements []*Enforcement
}

// Needs returns what a login at a mount has to prove, or nil for nothing.
// entity is empty for a login that has no identity.
func (m *MFA) Needs(tx *state.Tx, mount engines.Mount, entity string) (*Need, error) {
	all, err := m.at(tx)
	if err != nil || len(all.enforcements) == 0 {
		return nil, err
	}
	var who, groups []string
	if entity != "" {
		holder, err := m.Identity.Holder(tx, entity)
		if err != nil {
			return nil, err
		}
		// What was asked of an entity is asked of the one that it is now part of.
		who, groups = append([]string{entity}, holder.Entity.Merged...), holder.GroupIDs()
	}
	n := &Need{rules: all}
	for _, e := range all.enforcements {
		if e.covers(mount, who, groups) {
			n.enforcements = append(n.enforcements, e)
		}
	}
	if len(n.enforcements) == 0 {
		return nil, nil
	}
	if entity == "" { // nobody's secret can be asked for
		return nil, engines.Errorf(engines.KindDenied, "permission denied")
	}
	return n, nil
}

func (e *Enforcement) covers(mount engines.Mount, who, groups []string) bool {
	return slices.Contains(e.Accessors, mount.Accessor) || slices.Contains(e.Types, mount.Type) ||
		overlap(e.Entities, who) || overlap(e.Groups, groups)
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// Requirement is what an answer tells of a login that waits, with the names
// that Vault's clients know.
type Requirement struct {
	RequestID   string                `json:"mfa_request_id"`
	Constraints map[string]Constraint `json:"mfa_constraints"`
}

// Constraint lists the methods of one enforcement.
type Constraint struct {
	Any []MethodID `json:"any"`
}

// MethodID names one method.
type MethodID struct {
	Type         string `json:"type"`
	ID           string `json:"id"`
	UsesPasscode bool   `json:"uses_passcode"`
	Name         string `json:"name"`
}

func (n *Need) requirement(id string) *Requirement {
	out := &Requirement{RequestID: id, Constraints: make(map[string]Constraint)}
	for _, e := range n.enforcements {
		var c Constraint
		for _, methodID := range e.Methods {
			if method := n.rules.methods[methodID]; method != nil {
				c.Any = append(c.Any, MethodID{Type: typeTOTP, ID: methodID, UsesPasscode: true, Name: method.Name})
			}
		}
		out.Constraints[e.Name] = c
	}
	return out
}
