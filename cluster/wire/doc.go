// Package wire is how the nodes of a cluster talk to each other: over one port
// each, by mutual TLS 1.3 with certificates of the cluster's own authority. The
// protocol that a connection is for is told by ALPN (RFC 7301), so that nothing
// of it is read before the peer has shown who it is.
//
// A certificate names its node by a URI, coffer://cluster/node, and holds for a
// matter of weeks. Whoever dials says which node it wants to reach and takes no
// other; whoever accepts asks whether the node is still a member.
package wire
