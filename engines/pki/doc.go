// Package pki is a certificate authority: issuers and their keys, roles that say
// who may have which certificate, and the lists and answers by which others
// learn that one has been revoked.
//
// # What is stored
//
//	config/<what>             settings of the mount
//	keys/<id>, keynames/<n>   private keys as PKCS #8, and their names
//	issuers/<id>, names/<n>   certificates of issuers with their settings and chain
//	roles/<name>              package roles
//	certs/<serial>            an issued certificate in binary: see stored
//	revoked/<serial>          that it was revoked, when, by which group
//	entries/<group>/<serial>  the same as a line of the group's list
//	lists/<group>/...         the list as it was signed last
//
// Issuing reads the role, the issuer, its key and three settings, and writes one
// row: one log entry. Nothing of a mount is held in memory but what was parsed of
// issuers and keys, which counts only for the very bytes that the transaction
// reads. Listing lists names of rows and decodes none.
//
// # Lists
//
// Issuers with one subject and one key are one group: who checks a certificate
// cannot tell them apart, so they have one list. A revocation writes two rows of
// its own, which collide with nobody's, and has the list due. Due runs on the
// leader, outside of transactions: it walks the entries of the group as they are
// in a snapshot, signs the list, and commits it in pieces of 1 MiB, so that no
// list is larger than a log entry may be; the last commit is the head, which
// names the pieces, and what is served is always a whole list. So a list of
// 100,000 stops nobody from issuing or revoking meanwhile. Lists are signed once
// and kept, not rebuilt on each node: signatures differ from time to time, and
// all nodes are to serve the same list.
//
// A delta lists the entries that were written after the base was: rows know the
// index of their last change. OCSP answers come from the rows and are always
// up to date.
//
// # Keys
//
// A private key that is stored is in no answer. It leaves once, when it is made,
// if the caller asked for "exported". Keys of certificates are never stored.
package pki
