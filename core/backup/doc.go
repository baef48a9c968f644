// Package backup is the form in which the state leaves a cluster and comes back:
// the archive that Vault's clients expect, a gzipped tar of
//
//	meta.json          which cluster, version and index it is of
//	state.bin          the state as package fsm writes it: ciphertext only
//	SHA256SUMS         the digests of both
//	SHA256SUMS.sealed  the MAC of SHA256SUMS under a key of the cluster's, so
//	                   that only who had the keys can have made it
//
// What is read is bounded, and counts only once all of it was seen: the digests
// come last, so whoever takes the state must be able to throw it away.
package backup
