// Package tokens keeps the tokens that callers act with: service tokens, which
// are rows, and batch tokens, which are sealed into what the caller holds.
//
// Invariants:
//
//   - A row is found by the HMAC of the token's id; the id itself is stored
//     nowhere.
//   - A token is good only while its whole chain of parents is: the chain is
//     walked at each use. Revoking a token is therefore the deletion of one
//     row, whatever hangs below it; the descendants' rows are reaped after.
//   - Expiry is compared with cluster time at each use; the reaper only cleans
//     up.
package tokens
