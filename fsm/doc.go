// Package fsm is the replicated state machine of Coffer: it applies committed
// commands, in log order, to an ordered store of opaque rows. It knows neither
// keys, nor time, nor randomness, nor the network; a test reads its sources for
// them. What it is given is ciphertext, but for versions, expiries and sizes.
//
// # Commands
//
// A command (fsmpb.Command) is a transaction: checks against the versions of
// rows, and writes, applied whole or not at all. The outcome is a value, a
// Result; there is no error to handle, since an error would be a difference
// between replicas. A command of an unknown version, kind, operation or field
// halts the node: it is never skipped. New kinds are proposed only when every
// member knows them.
//
// A command with a request id is remembered, with its reply, for at least
// RequestRetention of cluster time. The id is looked up before anything else,
// so a command that reaches the log twice is applied once.
//
// # Invariants
//
//   - The applied index, its term and cluster time are written in the same batch
//     as the changes, so that after a crash the store stands exactly where some
//     entry left it. Entries up to there are skipped when they come again.
//   - The state depends only on the entries and their order, not on how they
//     were grouped or when the process started. Views of two replicas at one
//     index have the same Checksum.
//   - A row with an expiry or an owner is in the index of it, and nothing else is.
//   - Nothing is acknowledged by this package. The Raft log is the write-ahead
//     log; Pebble runs without one, and a snapshot flushes before Raft may cut
//     the log.
//   - A state folder is in use if, and only if, CURRENT names it. A restore
//     builds another one, verified and durable, before it renames CURRENT.
//
// # Reading
//
// After every batch one Pebble snapshot is published, and a View is a counted
// reference to it: taking one is an atomic operation, whatever is being applied.
// A view keeps its database open, also one that a restore has replaced.
//
// # Locks
//
// Store.applyMu serialises what changes the state. The lock of the waiters is
// taken under it and is the last one; no callback runs under either, except
// Options.Fatal, which must not call the store.
//
// # Why not otherwise
//
// An indexed batch for every group would make the overlay in txn unnecessary,
// and costs more than the rest of applying; it is used only for commands that
// remove a prefix. Two-phase checks outside the state machine would save
// decoding, and lose that a conflict is decided once, by the order of the log.
// Secondary indexes live here rather than in the core, since only here every
// change passes. Streaming the state on the apply goroutine would hold up
// every write for as long as a slow follower reads.
package fsm
