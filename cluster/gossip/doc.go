// Package gossip lets nodes tell each other who is there and what they are: by
// hashicorp/memberlist, over the cluster port. It finds out which node is gone
// and spreads addresses and versions. It never decides who leads.
//
// Packets and streams alike run over connections by mutual TLS between members
// (cluster/wire), so there is no port and no key of gossip's own, nothing of a
// stranger is decoded, and a sealed node takes part. A packet to a node that
// cannot be reached is dropped, as UDP would.
package gossip
