// Package server puts a server together: it is the one place where cluster,
// core, engines, seal and HTTP meet. It also holds the commands that start one.
//
// A Server is complete when New returns, and listens. Run serves until its
// context ends, and then stops in the order that loses nothing: listeners
// first, then the requests under way, then leadership, the core and the node.
package server
