// Package due has engines do what they have scheduled, once its time has come.
//
// What is scheduled is in the table state.Due, by mount and name as in state.Data,
// with its time as the row's expiry. The leader keeps the times in memory and reads
// the table again only when it has changed: other tables' rows that are over, of
// which there may be a million, are never passed over for it.
//
// Invariants:
//   - For one mount and name, no two calls run at once under one lead; a call's
//     context ends with the lead, and so do its commits, which are fenced.
//   - Each mount has workers of its own: one whose target does not answer holds up
//     no other. Within a mount, what has failed comes after what has not.
//   - The row is the engine's to change. What fails, or leaves its time as it was, is
//     called again with growing pauses, which are in memory only: a new leader tries
//     at once. A time that somebody else sets meanwhile ends the pause.
//   - While leases are held since a snapshot was restored, nothing is called: what
//     was scheduled may be for what another cluster looks after.
package due
