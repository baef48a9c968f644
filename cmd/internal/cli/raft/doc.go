// Package raft holds the commands of operator raft: who is part of a cluster,
// what the leader does about that by itself, and snapshots.
package raft
