// Package check finds what must not be in a history: registers that are not
// linearizable, elements that were lost or came back, tokens that outlived their
// revocation, things used more often than they may be, and an index that went
// back. It knows nothing but the history, so a saved one can be checked again.
package check
