package check

import (
	"fmt"
	"math"
	"slices"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// life is what is known of an element: it was not there until added, surely was
// since there, perhaps not since leaving, and surely not since gone.
type life struct{ added, there, leaving, gone int64 }

// sets checks lists, of which some are made at the end, by every node: what was
// added for sure is in them, and what was never added, or removed, is not.
func sets(key string, ops []history.Op) (found []Violation) {
	lives := make(map[string]*life)
	get := func(element string) *life {
		l := lives[element]
		if l == nil {
			l = &life{never, never, never, never}
			lives[element] = l
		}
		return l
	}
	for _, op := range ops {
		if op.Outcome == history.Failed || op.Outcome == history.Refused {
			continue
		}
		l := get(op.Value)
		switch op.Kind {
		case "add":
			l.added = op.Call
			if op.Outcome == history.Done {
				l.there = op.Return
			}
		case "remove":
			l.leaving = min(l.leaving, op.Call)
			if op.Outcome == history.Done && l.there != never { // an add in doubt may come later
				l.gone = min(l.gone, op.Return)
			}
		}
	}
	for _, op := range ops {
		if op.Kind != "list" || op.Outcome != history.Done {
			continue
		}
		for _, element := range op.List {
			if l := get(element); l.added > op.Return {
				found = append(found, Violation{"came from nowhere", key + "/" + element, fmt.Sprintf("node %d lists at %s what nobody has added", op.Node, at(op.Call))})
			} else if l.gone < op.Call {
				found = append(found, Violation{"came back", key + "/" + element, fmt.Sprintf("node %d lists at %s what was removed at %s", op.Node, at(op.Call), at(l.gone))})
			}
		}
		listed := slices.Sorted(slices.Values(op.List))
		for element, l := range lives {
			if _, ok := slices.BinarySearch(listed, element); !ok && l.there < op.Call && l.leaving > op.Return {
				found = append(found, Violation{"lost", key + "/" + element, fmt.Sprintf("node %d does not list at %s what was added at %s", op.Node, at(op.Call), at(l.there))})
			}
		}
	}
	return found
}

const never = math.MaxInt64
