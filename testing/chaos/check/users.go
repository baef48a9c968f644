package check

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

const (
	// rounding is how much sooner than promised a lease may end: answers tell whole
	// seconds.
	rounding = int64(time.Second)
	// overtime is how long after its end a user may still log in, whatever befalls
	// the nodes: the database itself ends it some seconds after its lease.
	overtime = int64(20 * time.Second)
)

// tenure is how long a user of the database has to be there.
type tenure struct {
	terms []term
	// ends is by when its lease is over unless somebody renews it in doubt; released
	// from when on somebody asked for its end, and gone from when on it was said to
	// be gone.
	ends, released, gone int64
}

// term is what one answer promised, or may have: a renewal that asks for less than
// is left makes a lease shorter.
type term struct {
	call, end, until int64
	sure             bool
}

// owed is until when a user had to be there, as seen at t: by the least of the
// terms that may have been the last by then.
func (u *tenure) owed(t int64) int64 {
	least := u.released
	for _, one := range u.terms {
		over := slices.ContainsFunc(u.terms, func(later term) bool { return later.sure && later.call > one.end && later.end < t })
		if one.call < t && !over {
			least = min(least, one.until)
		}
	}
	return least
}

// tenures are those of the users of a role.
func tenures(ops []history.Op) map[string]*tenure {
	all := make(map[string]*tenure)
	get := func(user string) *tenure {
		if all[user] == nil {
			all[user] = &tenure{released: never, gone: never}
		}
		return all[user]
	}
	for _, op := range ops {
		ttl := op.Expected * int64(time.Second)
		switch op.Kind {
		case "issue":
			if op.Outcome == history.Done {
				t := get(op.Value)
				t.terms, t.ends = append(t.terms, term{op.Call, op.Return, op.Call + ttl - rounding, true}), max(t.ends, op.Return+ttl)
			}
		case "renew":
			t := get(op.Value)
			switch op.Outcome {
			case history.Done:
				t.terms, t.ends = append(t.terms, term{op.Call, op.Return, op.Call + ttl - rounding, true}), max(t.ends, op.Return+ttl)
			case history.Unknown, history.Failed: // the database may have been told
				t.terms, t.ends = append(t.terms, term{op.Call, never, op.Call + ttl - rounding, false}), math.MaxInt64
			case history.Refused:
			}
		case "revoke", "revoke-sync":
			t := get(op.Value)
			t.released = min(t.released, op.Call)
			if op.Kind == "revoke-sync" && op.Outcome == history.Done {
				t.gone = min(t.gone, op.Return)
			}
		}
	}
	for _, op := range ops {
		if op.Kind != "revoke-prefix" {
			continue
		}
		for _, t := range all {
			t.released = min(t.released, op.Call)
		}
	}
	return all
}

// users checks the users of a role: none is refused while its lease lives, none
// logs in once it is over, and once all has settled they are those of live leases.
func users(key string, ops []history.Op) (found []Violation) {
	all := tenures(ops)
	add := func(rule string, op history.Op, format string, args ...any) {
		found = append(found, Violation{rule, key, fmt.Sprintf("%s at %s: ", op.Kind, at(op.Call)) + fmt.Sprintf(format, args...)})
	}
	for _, op := range ops {
		t := all[op.Value]
		if op.Kind != "enter" || t == nil || len(t.terms) == 0 {
			continue
		}
		switch {
		case op.Outcome == history.Refused && op.Return < t.owed(op.Return):
			add("a user ended early", op, "%s, owed until %s", op.Value, at(t.owed(op.Return)))
		case op.Outcome == history.Done && op.Call > t.gone:
			add("a user outlived its revocation", op, "%s, gone at %s", op.Value, at(t.gone))
		case op.Outcome == history.Done && t.ends < never-overtime && op.Call > t.ends+overtime:
			add("a user outlived its lease", op, "%s, over at %s", op.Value, at(t.ends))
		}
	}
	settled(ops, all, add)
	return found
}

// settled checks what there was when all had settled.
func settled(ops []history.Op, all map[string]*tenure, add func(rule string, op history.Op, format string, args ...any)) {
	var made, leased *history.Op
	for i, op := range ops {
		switch op.Kind {
		case "settled":
			made = &ops[i]
		case "leased":
			leased = &ops[i]
		}
	}
	if made == nil || leased == nil {
		return
	}
	for _, user := range made.List {
		if !slices.Contains(leased.List, user) {
			add("a user without a lease", *made, "%s", user)
		}
	}
	for _, user := range leased.List {
		if !slices.Contains(made.List, user) {
			add("a lease without a user", *leased, "%s", user)
		}
	}
	for user, t := range all {
		if len(t.terms) > 0 && made.Call < t.owed(made.Call) && !slices.Contains(made.List, user) {
			add("a user ended early", *made, "%s, owed until %s", user, at(t.owed(made.Call)))
		}
	}
}
