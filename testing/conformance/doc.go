// Package conformance runs the official Go clients of Vault and OpenBao against
// a real Coffer process: what they expect is what the API has to be. It is a
// module of its own, so that their dependencies do not become Coffer's.
//
// The tests are written once, against package api, which is Vault's client or,
// with the build tag "openbao", OpenBao's. What only one of the two offers is
// tested in files with that tag. A test walks the methods of the client that was
// compiled in: each is called somewhere here, or stands in a list with the
// reason why not, so that a new release of a client cannot bring a call that
// nobody looked at.
//
// With COFFER_CONFORMANCE_NODES=3 the clients talk to a follower of three nodes instead
// of a server of its own: there is nothing that one answers otherwise.
//
// COFFER_BINARY names the server's binary; without it, the tests build one.
package conformance
