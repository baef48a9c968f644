// Package nemesis has the faults that a cluster is tormented with. Each is drawn
// with its own randomness from the seed of a run, so that the same seed has the
// same faults with the same parameters; whom they hit also depends on who leads.
package nemesis
