// Package targets has a database of each kind that users are made of, so that
// the same is tested with all of them: the server, a wire to it that can be cut,
// what Coffer is told of it, and which users it has.
package targets
