// Package cert is the way to log in with a TLS client certificate: one that is
// trusted itself, byte for byte, or one of a trusted CA that keeps to its
// role's constraints. The handshake has proven that the caller has the key.
//
// Times are judged by cluster time. A certificate is refused if it or its CA
// has expired, if it is itself a CA, and if a CRL names it. A CRL that has
// expired, or that its issuer did not sign, is no proof that a certificate is
// not revoked: such a login is refused unless the setting crl_fail_open says
// otherwise. OCSP responders are asked last, about certificates that would
// otherwise be let in, within a few seconds and a bounded answer.
//
// What is parsed of certificates and CRLs is kept by the version of its row;
// what responders answer, for as long as they say. No decision is kept.
//
// # Layout
//
//	cert/<name>   a role: the trusted certificate and what its logins get
//	crl/<name>    a CRL
//	config        the settings
package cert
