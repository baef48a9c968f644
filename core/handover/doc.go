// Package handover seals the root key for a node that has the keyring, but an
// earlier root key: another node has replaced it since.
//
// It travels between two members, over the connection that both have shown their
// certificates on, and is sealed once more, under a key that is derived from the
// keyring. A node that is sealed, or somebody with the disk of one, has the
// certificate too, and learns nothing from the answer. Nothing of it is kept: what
// stands in the log or a snapshot would open the cluster to whoever had the key
// shares of before, which is what a rekey is to end.
package handover
