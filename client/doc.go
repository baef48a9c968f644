// Package client calls the HTTP API of Coffer, and of any server that speaks
// Vault's.
//
// A Client is made once from a Config and is safe for use by many goroutines;
// With returns one that differs in what it says of itself (token, wrapping,
// headers) and shares its connections. Every call takes a context, and every
// answer is read up to a bound.
//
// A request is sent again only when the server cannot have acted on it: it
// could not be reached, or said that it refused (412, 429); a read is sent again
// after any 5xx that may pass. A write is never sent twice once bytes may
// have left.
//
// The package stands on the standard library alone, so that programs can take
// it in without taking in a server.
package client
