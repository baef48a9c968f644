// Package auth has what several ways to log in share: the older names of the
// parameters of tokens, and lists of addresses. Each way to log in is a folder
// below this one, on the contract of package engines.
package auth
