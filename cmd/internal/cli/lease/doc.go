// Package lease is the part of the command line that looks up, renews and ends
// leases.
package lease
