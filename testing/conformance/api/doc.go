// Package api is the official client under test, under the names that both
// clients give their things: Vault's, or OpenBao's with the build tag "openbao".
package api
