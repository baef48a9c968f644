package server

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow to this part of what is live before it is
// collected. The live heap of a node is small beside its block cache, and each
// request leaves garbage: at Go's 100 the collector took a tenth of the time
// of a node under load.
const gcPercent = 300

// tuneMemory sets the pace of the garbage collector, unless whoever runs the
// process has.
func tuneMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
