// Package issued keeps the leases of what engines make outside of Coffer, and
// sees to it that nothing outlives its lease.
//
// A lease is pending from before the thing is made until that is confirmed, then
// live, then revoking until the engine says that the thing is gone, and then no
// more. It never goes back. What it takes to undo the thing is in the lease, so
// neither roles nor a mount's settings are needed for it.
//
// Invariants:
//   - Nothing is made before its pending lease is committed, and no answer leaves
//     before it has been confirmed.
//   - What was never confirmed is undone once more after the time by which making
//     it must have ended: whoever made it may have been slow, and no leader by then.
//   - A lease is in the table Undoing exactly while it is revoking, filed by mount
//     and target. Each such queue is worked off on its own: what is stuck holds up
//     only its own target.
//   - A token that owns leases has a row that says so, and its removal turns that
//     into an order to end them. Whoever makes a lease requires the token to be
//     there, and whoever removes a token requires the row to be as it was, so one
//     of two that meet is run again.
//
// A mount that is disabled is gone from the table at once, but what it stored
// stays until the last of its leases is.
//
// Only the leader undoes, and what it commits is fenced with its term. What fails
// is tried again for ever, less and less often. The waiting of a whole target is
// kept in memory, so that a database that is down costs no writes; a new leader
// asks it once more. While a target undoes some, how those before them went is
// committed: the log may be slower than the target.
//
// What no lease is for, since somebody gave its lease up or the cluster went back
// to a snapshot, is found by its mark: the leader compares each target that has
// marks with the leases every hour.
package issued
