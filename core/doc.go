// Package core is the way of a request: from what a client sent, through its
// token, the policies and the mount it is for, to one transaction and an
// answer.
//
// There are two types for the two states of a node. Core is always there: it
// initialises, collects key shares and tells its status. Unsealed exists only
// while the node holds the keyring; it serves requests, is complete when it is
// made, and is closed as a whole.
//
// The way of a request is a row of types, each made only by the stage before
// it: decoded, routed, authenticated, authorised, executed. A stage cannot be
// skipped because nothing else makes its input.
package core
