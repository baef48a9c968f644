// Package oidc is the command line's side of a login at an OpenID Connect
// provider: it asks the server where to send the browser, and gets the token
// when the one at the browser is done.
//
// Where the browser comes back to is for the role to say: to a port that this
// process listens at, to the server itself, or nowhere (devices). In the last
// two this process asks the server until there is an answer.
//
// What comes to the port counts only if it carries the state that the login
// began with: anybody on the machine may send something there.
package oidc
