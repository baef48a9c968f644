// Package cubbyhole gives every token a place of its own. What one token keeps
// no other can read, list or delete, root's included, and it goes with the
// token: when a token ends, the core deletes the rows below Dir.
//
// # Layout
//
//	<token key>/<path>  the JSON object that came in
package cubbyhole
