// Package cluster runs one Raft node among others: it proposes commands to the
// replicated log, applies what is committed to the state machine of package
// fsm, and answers linearizable reads.
//
// # Invariants
//
//   - What Propose has answered is in the log of a quorum, synced. The log is the
//     write-ahead log of the state; it is cut only behind a snapshot, which the
//     store has flushed before.
//   - An error of Propose says what became of the command: only with ErrUnknown
//     may it have been applied.
//   - A read begins after a quorum has confirmed, in the term of this leader,
//     something sent after the read was asked for.
//   - A node does not start with less than it had: a log that is damaged, has a
//     gap, or ends before what the store has applied is an error of Open.
//   - A node that met a damaged entry, a stalled disk or an unknown command is
//     halted for good: nothing is sent, proposed or read any more.
//   - Cluster time never goes back while the process runs, and only stamps in the
//     log move it, beside the monotonic clock.
//
// # What is on disk
//
// Term, vote and, by default, the log are in raft.db; the log may stand in wal/
// instead. Every entry carries a checksum. The state is in state/, snapshots are
// in snapshots/, each a checkpoint or a stream with a description that is written
// last. The lock on raft.db keeps other processes out of all of it.
//
// # Locks
//
// Each mutex is private to one struct and none is held while another is taken.
// Node.halt ends the goroutine that calls it.
//
// # Why not otherwise
//
// A barrier of Raft would tell a new leader that it has applied what was before
// it, but does not reach the state machine, whose applied index would stay behind
// the commit index: an empty command does both. The library counts an answer to a
// heartbeat that was sent before leadership was asked about, so reads count the
// answers themselves. Its shortcut for heartbeats is off, since with it a deposed
// leader can write under a new term.
package cluster
