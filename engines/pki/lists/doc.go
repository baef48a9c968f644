// Package lists signs revocation lists and answers of OCSP. It knows no storage:
// what was revoked is handed to it.
package lists
