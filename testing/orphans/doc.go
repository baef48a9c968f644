// Package orphans tests, with processes and databases that are the real ones,
// that users of databases are those of live leases, whatever became of who made
// them.
package orphans
