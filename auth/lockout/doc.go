// Package lockout counts failed logins and locks those out who fail too often.
// It counts in the storage of the way to log in, so the count is the cluster's,
// and by the canonical name, so no spelling of a name has a count of its own.
//
// Names that do not exist are counted as well, since a lock would otherwise
// tell which names do. Strangers choose those names, so their counts are kept
// by the hash alone (it may be a password typed in the wrong place) and go with
// the period that they belong to.
//
// # Layout
//
//	lockout/known/<hash of the name>                    a count, with the name
//	lockout/stranger/<period>/<two digits>/<hash>       a count
package lockout
