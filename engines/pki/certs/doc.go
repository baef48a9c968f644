// Package certs knows what stands in a certificate: names, usages, policies,
// subjects and serial numbers, in the words of the API and in those of X.509.
//
// Where crypto/x509 stops (names of other kinds, user ids in a subject), it
// writes the DER itself. It decides nothing: what a role allows is in package
// roles.
package certs
