// Package kit runs one real node in a test: a cluster of one on a folder of
// its own, the core on it, and the HTTP API on a free port of the loopback
// interface. Nothing in it is faked but, if asked for, the clock.
//
// A Server belongs to one test, which it fails on whatever should not happen,
// and is taken apart when that test ends.
package kit
