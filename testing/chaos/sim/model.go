package sim

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

type opKind int

const (
	opRead opKind = iota
	opWrite
	opSwap
)

// input is what a client asked of one key, and output what it was answered.
type input struct {
	op            opKind
	key           string
	before, value string
}

type output struct {
	value string
	// refused says that the row was not as before; unknown, that it may or may
	// not have been done.
	refused, unknown bool
}

// register is a row: what was last written to it, or "". Every value is written
// only once, so that a row has a value just as long as it has a version.
var register = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, op := range history {
			key := op.Input.(input).key //nolint:forcetypeassert // all are
			byKey[key] = append(byKey[key], op)
		}
		parts := make([][]porcupine.Operation, 0, len(byKey))
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any { return []any{""} },
	Step: func(state, in, out any) []any {
		now, asked, told := state.(string), in.(input), out.(output) //nolint:forcetypeassert // all are
		fits := asked.op != opSwap || now == asked.before
		switch {
		case asked.op == opRead:
			if told.value != now {
				return nil
			}
			return []any{now}
		case told.refused:
			if fits {
				return nil
			}
			return []any{now}
		case told.unknown && fits:
			return []any{now, asked.value}
		case told.unknown:
			return []any{now}
		case fits:
			return []any{asked.value}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%+v -> %+v", in, out)
	},
}).ToModel()
