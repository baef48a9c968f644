// Package program runs the programs of roles, in the Common Expression Language,
// that decide on the claims of a token: who its bearer is and what they get, or
// that they get nothing.
//
// A program is an expression, and before it variables, of which each sees those
// before it. It sees the token's "claims", and "now". It answers with a message
// pb.Auth, whose fields are those that OpenBao's has, or with a text or false,
// which are refusals. It has no way out of itself, and its cost and size are
// bounded; to be out of bounds is a refusal.
package program
