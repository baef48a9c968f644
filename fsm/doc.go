// Package fsm is the replicated state machine of Coffer: it applies committed
// commands, in log order, to an ordered store of opaque rows.
package fsm
