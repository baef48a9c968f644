// Package wrapping gives answers their usual form, and wraps an answer: it is
// kept for a token of a single use, which is what the caller gets instead.
//
// A wrapped answer is one row next to its token, removed in the transaction
// that reads it, so it is unwrapped at most once in the whole cluster.
package wrapping
