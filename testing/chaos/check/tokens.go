package check

import (
	"fmt"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// tokens checks a tree of tokens: all of them work until somebody asks to revoke
// its root, and none does once that is acknowledged.
func tokens(key string, ops []history.Op) (found []Violation) {
	asked, gone := int64(never), int64(never)
	for _, op := range ops {
		if op.Kind == "revoke" && (op.Outcome == history.Done || op.Outcome == history.Unknown) {
			asked = min(asked, op.Call)
			if op.Outcome == history.Done {
				gone = min(gone, op.Return)
			}
		}
	}
	for _, op := range ops {
		switch {
		case op.Kind != "use":
		case op.Outcome == history.Done && op.Call > gone:
			found = append(found, Violation{"used after it was revoked", key, fmt.Sprintf("node %d takes %s at %s, revoked at %s", op.Node, op.Value, at(op.Call), at(gone))})
		case op.Outcome == history.Refused && op.Return < asked:
			found = append(found, Violation{"refused before it was revoked", key, fmt.Sprintf("node %d refuses %s at %s", op.Node, op.Value, at(op.Call))})
		}
	}
	return found
}

// held is from when on a request may have been handed on twice, to a leader that
// counted a use and was lost, and to its successor, which then refuses it: see
// docs/reliability.md.
const held = 500 * time.Millisecond

// uses checks a thing that can be used some times: not more often, and not
// fewer if everybody got an answer.
func uses(key string, ops []history.Op) []Violation {
	var allowed, done, refused, unknown int64
	for _, op := range ops {
		allowed = op.Expected
		switch op.Outcome {
		case history.Done:
			done++
		case history.Refused:
			refused++
			if op.Return-op.Call > int64(held) {
				unknown++
			}
		case history.Unknown:
			unknown++
		case history.Failed: // it was not used
		}
	}
	switch {
	case done > allowed:
		return []Violation{{"used too often", key, fmt.Sprintf("%d times, allowed are %d", done, allowed)}}
	case refused > 0 && done+unknown < allowed:
		return []Violation{{"refused too early", key, fmt.Sprintf("after %d uses of %d", done+unknown, allowed)}}
	}
	return nil
}
