package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// Violation is something that must not have happened.
type Violation struct {
	Rule string `json:"rule"`
	Key  string `json:"key,omitempty"`
	Text string `json:"text"`
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Rule, v.Key, v.Text) }

// rules check the operations on one key of one workload.
var rules = map[string]func(key string, ops []history.Op) []Violation{
	"register":    registers,
	"transaction": registers,
	"policy":      registers,
	"set":         sets,
	"token":       tokens,
	"once":        uses,
	"database":    users,
}

// History checks all of a history.
func History(ops []history.Op) []Violation {
	type group struct{ work, key string }
	groups := make(map[group][]history.Op)
	var order []group
	for _, op := range ops {
		g := group{op.Work, op.Key}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], op)
	}
	var found []Violation
	for _, g := range order {
		if rule := rules[g.work]; rule != nil {
			found = append(found, rule(g.key, groups[g])...)
		}
	}
	return append(found, indexes(ops)...)
}

// indexes checks that nobody is answered from a state that is older than what
// anybody was told before.
func indexes(ops []history.Op) (found []Violation) {
	var told []history.Op
	for _, op := range ops {
		if op.Index > 0 && op.Outcome == history.Done {
			told = append(told, op)
		}
	}
	byCall := slices.Clone(told)
	slices.SortFunc(byCall, func(a, b history.Op) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(told, func(a, b history.Op) int { return cmp.Compare(a.Return, b.Return) })
	var newest history.Op
	next := 0
	for _, op := range byCall {
		for next < len(told) && told[next].Return < op.Call {
			if told[next].Index > newest.Index {
				newest = told[next]
			}
			next++
		}
		if op.Index < newest.Index {
			found = append(found, Violation{"an index went back", op.Key, fmt.Sprintf(
				"%s %s at %s rests on %d, after %s %s had rested on %d", op.Work, op.Kind, at(op.Call), op.Index, newest.Work, newest.Kind, newest.Index)})
		}
	}
	return found
}

func at(t int64) time.Duration { return time.Duration(t).Round(time.Millisecond) }
