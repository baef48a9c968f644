// Package enginetest is a kit for testing an engine without a core: a store in
// memory that behaves as the contract says, and a harness that takes requests
// through the engine's table as the core does.
//
// The harness holds an engine to the contract as it goes: every handler runs
// twice against the same snapshot and must answer and write the same both
// times, an operation that only reads must not write, an answer must encode,
// and paths given to the transaction must be well formed.
package enginetest
