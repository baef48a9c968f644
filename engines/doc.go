// Package engines is the contract between Coffer's core and everything that is
// mounted: secrets engines, ways to log in, and the system's own API.
//
// An engine is data and functions. Its data is a table of routes, each with a
// pattern, typed fields and one handler per operation; validation, help, the
// OpenAPI document and command-line completion are made from the same table. A
// handler is a function of a request, whose fields are already validated, and
// a transaction; it returns a response or an error of a known kind.
//
// What holds for every handler:
//
//   - It reads from one consistent snapshot and buffers its writes. The core
//     commits them as one log entry, with checks on every row that was read,
//     or runs the handler again. A handler therefore has no effect of its own
//     and may run more than once.
//   - It sees plaintext paths and values; the core seals both before they
//     leave the process.
//   - It knows no HTTP, no Raft and no clock but Request.Now.
package engines
