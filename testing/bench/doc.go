// Command bench loads servers of this API and, in the same run, the floors
// below them: a bare gorilla/mux handler for reads, bare hashicorp/raft over
// the same store for writes, and what else a kind of work cannot do without. It
// prints every rate as a fraction of its floor, since the absolute figures of
// two machines, or of two hours on one machine, do not compare.
//
// The rounds of floor and targets alternate, and the medians are compared. The
// load comes from this process, by a closed loop or at a fixed rate (see package
// load). Without a target it starts Coffer itself, and on request others beside
// it, with TLS and with an audit device, so that these too are ratios of one run.
//
// A new kind of work is a line in works and a function that prepares a target
// and returns a script.
package main
