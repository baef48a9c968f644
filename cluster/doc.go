// Package cluster runs one Raft node among others: it proposes commands to the
// replicated log, applies what is committed to the state machine of package
// fsm, and answers linearizable reads.
package cluster
