// Package apitable compares the server's API with a table of the API that
// clients of Vault and OpenBao know: each of its paths and methods, with the
// fields, types and defaults that it names, must be in the server's OpenAPI
// document, or in the list of what is left out, with the reason.
//
// The table is read by its own rules: names of parameters do not matter, and a
// field may take more than the table says (a duration where it says string),
// never less.
package apitable
