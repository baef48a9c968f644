// Package post sends audit records to a server over HTTP. It is the one part
// of auditing that knows HTTP.
package post
