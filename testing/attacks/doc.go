// Package attacks holds the attacks of docs/reliability on one node as tests, by
// their numbers, but for those on paths, headers and bodies (1 to 39), which
// stand in http, except 23, 24, 27 and 37. Each says which answer is expected, and that nothing changed
// which must not change. Where an attack is meant to come from several nodes at
// once, goroutines on one node stand in for them: with one log there is one
// order in which the state machine decides, whoever asks.
//
// Beside them stand the properties that hold for any spelling of a path and any
// child of a token.
//
// Missing are those on what does not exist yet: 60 to 67 (database credentials:
// names, statements, what is left of roles) wait for the issue of leases and
// databases; 70 (snapshots) and 77 to 82 (joining, the cluster's port, gossip)
// for that of the cluster; 71 and 72 (transit) for that of transit; 73 to 76
// (certificates) for that of PKI.
package attacks
