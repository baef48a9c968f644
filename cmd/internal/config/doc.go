// Package config reads the server's configuration: HCL or JSON in Vault's
// words, and the environment.
//
// Reading is strict. A key that is not known, stands in the wrong stanza or is
// set twice is an error that names file and line, since a setting that silently
// does nothing is how servers end up open. A key of Vault's that means nothing
// here is known and says so in a warning; one whose absence would change what
// is safe is refused. All that is wrong is reported, not only the first.
package config
