// Package several has the form of a request for several operations at once, and
// of its answer.
package several
