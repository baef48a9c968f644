// Package userpass is the way to log in with a name and a password, which is
// kept as its bcrypt hash only.
//
// A name has one form, lower case and trimmed, for the user's row, the count of
// failed logins and the alias alike. A login takes the same time whether the
// name exists or not: there is always a hash to compare with.
package userpass
