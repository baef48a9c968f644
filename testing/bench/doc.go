// Command bench loads a Coffer server and, in the same run, the floors below
// it: a bare gorilla/mux handler for reads and bare hashicorp/raft over the
// same store for writes. It prints every rate as a fraction of its floor,
// since the absolute figures of two machines, or of two hours on one machine,
// do not compare.
//
// The rounds of floor and server alternate, and the medians are compared. The
// load comes over loopback from this process; each connection sends its next
// request when the last one is answered (a closed loop).
package main
