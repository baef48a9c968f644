package server

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent lets the heap grow to this part of what is live before it is
// collected. The live heap of a node is small beside its block cache, and each
// request leaves garbage: at Go's 100 the collector took a tenth of the time
// of a node under load.
const gcPercent = 300

// spareProcessors are Go's processors beyond those of the machine. The
// goroutine that waits for the log's fsync gives its processor away and has to
// find another one when it goes on, in the queue behind all that serve requests;
// with some to spare it is the kernel that decides, which favours who has waited.
const spareProcessors = 2

// tuneProcessors sets how many goroutines run at once, unless whoever runs the
// process has.
func tuneProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors)
	}
}

// tuneMemory sets the pace of the garbage collector, unless whoever runs the
// process has.
func tuneMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
