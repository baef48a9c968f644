// Package schema makes an engine's table of routes work: it finds the route of
// a path, turns bodies, queries and captured segments into validated fields,
// and writes path-help and OpenAPI from the same table.
//
// What holds here:
//
//   - A table is checked once, by Compile; what Match returns cannot be wrong
//     in a way that a handler would have to look for.
//   - Of two routes that fit a path, the more literal one wins: at the first
//     segment where they differ a literal beats {name}, which beats {name...}.
//   - Input is bounded before memory is taken, and decoding is as lenient as
//     Vault's and no more.
//   - An error names the field and the type that was expected. It never holds
//     a value, nor a key that the client chose: both may be secret.
package schema
