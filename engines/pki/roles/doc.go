// Package roles says what a role allows: it holds a request, or a CSR, to a role
// and answers the certificate to be signed, or why there is none.
//
// A name is allowed by what it is when it has been read (without its wildcard,
// the domain of an e-mail address), never by how it was written. What a CSR asks
// for beyond names (usages, constraints, being a CA) is not looked at: the role
// decides that. It knows no storage: templates over identity are filled by a
// function that the request carries.
package roles
