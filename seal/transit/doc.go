// Package transit is an auto-unseal wrapper over the transit engine of another
// server: Coffer, Vault or OpenBao.
//
// It seals in an envelope: a fresh 32-byte data key encrypts the plaintext here
// with AES-256-GCM, and transit encrypts the data key. So the root key never
// leaves this process, additional data works with every type of transit key,
// and neither that server nor this store is enough alone.
package transit
