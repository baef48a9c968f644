// Package trial is one run of the chaos harness: a cluster, clients, faults that
// follow from a seed, and a look at everything at the end.
//
// Faults come in rounds, one to three at once. After each, all is healed, and
// within a bounded time every node must take writes and have all that was
// written; a cluster that is alive and yet stuck fails there.
package trial
