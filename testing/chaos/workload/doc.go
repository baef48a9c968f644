// Package workload has what clients do to a cluster while it is tormented. Each
// work's history has a rule of the same name in package check.
//
// Some clients stay with one node and some roam. Those of a work share what it
// has made, so that one node is asked about what another has just done.
package workload
