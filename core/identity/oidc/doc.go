// Package oidc makes identity tokens and is an OpenID Connect provider: it
// serves identity/oidc. Roles give identity tokens to whoever asks for their
// own; clients are applications that have people log in here.
//
// Invariants:
//
//   - A private key is in the state, sealed, and nowhere else. The key that will
//     sign next is published ahead; one that has signed stays published for its
//     verification TTL. A rotation is one transaction, so that every node signs
//     and publishes the same.
//   - A code is redeemed once: it goes in the transaction that makes its tokens.
//     Codes and access tokens are stored by their hash, and end on time.
//   - Who stands behind a code or an access token is judged again at each use:
//     an entity that is disabled or no longer assigned gets nothing.
//   - What is known of an identity fills a template as a JSON value. It cannot
//     change the shape of the claims, nor any of those that the token rests on.
package oidc
