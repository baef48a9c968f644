// Package tokenparams has the parameters that every way to log in lets its
// roles give to the tokens of a login: their fields, how they are read, and how
// they are shown.
package tokenparams
