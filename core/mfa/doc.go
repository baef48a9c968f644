// Package mfa asks logins for a second factor: a time-based one-time passcode
// (TOTP, RFC 6238). It serves identity/mfa, says which logins need a factor, and
// keeps those that wait for one.
//
// Invariants:
//
//   - What cannot be read refuses the login.
//   - A passcode is good once in the whole cluster: the time step it is of is
//     written in the transaction that makes the token, and no step counts that is
//     not later than the last one.
//   - Wrong passcodes are counted in the state, so that asking another node, or
//     beginning another login, gives no more tries.
//   - A login that waits is kept sealed, for a few minutes, and ends with the
//     token that is made of it. What is asked of it is what the rules say when it
//     is validated.
package mfa
