// Package namecache is a bounded, concurrent map from bytes to bytes, for what
// is dear to compute and never changes: sealed names, and what they say.
//
// It is divided into shards by a seeded hash; each evicts by CLOCK (second
// chance), so that one long listing does not displace what is asked for again
// and again.
package namecache
