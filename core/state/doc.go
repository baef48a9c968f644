// Package state is the core's sealed view of the replicated store: tables,
// sealed names and values, and transactions.
//
// Invariants:
//
//   - No key leaves this package with a secret's name in plain, and no value
//     unsealed: the state machine below sees ciphertext only.
//   - A transaction reads one snapshot, buffers its writes, and remembers the
//     version of every row it got. The commit is one log entry with those
//     versions as its conditions.
//   - An answer that rests on reads alone is given only for a snapshot that is
//     linearizable; an answer that rests on a commit is proven by the commit.
package state
