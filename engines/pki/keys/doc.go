// Package keys makes, reads and writes the private keys of a certificate
// authority and of those it issues to, and bounds what comes from outside.
//
// Kinds of keys are few on purpose: RSA of 2048 to 8192 bits, the NIST curves
// from P-256 up, and Ed25519. A key is stored as PKCS #8, whatever form it came
// in or leaves in.
package keys
