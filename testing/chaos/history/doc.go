// Package history keeps what clients asked of a cluster and were answered, as
// lines of JSON that can be checked again later.
package history
