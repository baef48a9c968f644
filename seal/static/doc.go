// Package static is an auto-unseal wrapper over a key that is given to the
// server: in a file, in an environment variable or in its configuration. It is
// as safe as the place the key comes from.
//
// A key is 32 bytes, for AES-256-GCM. To rotate it, make the present key the
// previous one, under its identifier, and give a new one as current.
package static
