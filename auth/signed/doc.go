// Package signed reads JSON Web Tokens (RFC 7519) of others: which are signed,
// with a public key that is trusted, by an algorithm that is allowed.
//
// There is no way to have a token accepted that is not signed, or by a shared
// key. Which key signs says the caller, never the token; its "kid" only chooses
// among the trusted ones. Claims are read strictly: a name twice, a number that
// is no time, a list with something else in it are refusals.
package signed
