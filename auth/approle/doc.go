// Package approle is the way for machines to log in: with the id of a role,
// which is public, and a secret id of that role.
//
// A secret id is never stored. What is kept is its HMAC under a key of its
// role, and by that it is found. Its uses are counted in the transaction of the
// login, so one that may be used once is used once, whoever races for it.
//
// # Layout
//
//	role/<name>                              a role
//	id/<hash of a role id>                   the name of its role
//	secret/<folder>/<hmac>                   a secret id; each role has a folder
//	accessor/<folder>/<accessor>             the hmac of its secret id
//	expiry/<day>/<seconds>.<accessor>        where the secret id is that ends then
package approle
