// Package lockout counts failed logins and locks those out who fail too often.
// It counts in the storage of the way to log in, so the count is the cluster's,
// and by the canonical name, so no spelling of a name has a count of its own.
//
// Names that do not exist are counted too, in a bounded number of rows that
// they share: otherwise a lock would tell which names exist, or strangers could
// fill the store.
package lockout
