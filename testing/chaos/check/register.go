package check

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// within bounds how long one key may be looked at.
const within = time.Minute

// state is that of a register: its value, and how often it was written.
type state struct {
	value   string
	version int64
}

// register is a secret with versions, or a policy. Reads that failed are not
// part of the history; writes that failed have not happened.
var register = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(before, in, _ any) (bool, any) {
		s, op := before.(state), in.(history.Op)
		switch op.Kind {
		case "read":
			return op.Value == s.value && (op.Version == 0 || op.Version == s.version), s
		case "metadata": // tells the version, and is another row
			return op.Version == s.version, s
		case "cas":
			if op.Outcome == history.Refused {
				return op.Expected != s.version, s
			}
			if op.Expected != s.version {
				return op.Outcome == history.Unknown, s
			}
		}
		next := state{op.Value, s.version + 1}
		return op.Outcome == history.Unknown || op.Version == 0 || op.Version == next.version, next
	},
	DescribeOperation: func(in, _ any) string {
		op := in.(history.Op)
		return fmt.Sprintf("%s %q v%d: %s", op.Kind, op.Value, op.Version, op.Outcome)
	},
}

func registers(key string, ops []history.Op) []Violation {
	var list []porcupine.Operation
	for _, op := range ops {
		looks := op.Kind == "read" || op.Kind == "metadata"
		switch {
		case op.Outcome == history.Failed, looks && op.Outcome != history.Done, op.Outcome == history.Refused && op.Kind != "cas":
			continue
		}
		end := op.Return
		if op.Outcome == history.Unknown {
			end = math.MaxInt64 // it may yet happen
		}
		list = append(list, porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Output: op, Return: end})
	}
	switch porcupine.CheckOperationsTimeout(register, list, within) {
	case porcupine.Illegal:
		return []Violation{{"not linearizable", key, fmt.Sprintf("%d operations have no order", len(list))}}
	case porcupine.Unknown:
		return []Violation{{"not checked", key, fmt.Sprintf("%d operations could not be ordered within %s", len(list), within)}}
	}
	return nil
}
