// Package mounts keeps the mount table: what is mounted where, with which
// settings. The rows are the state's; the Router made from them is immutable,
// cached by the index at which the table last changed, and so never stale for
// the snapshot that a request runs on.
package mounts
