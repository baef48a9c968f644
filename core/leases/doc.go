// Package leases is what sys/leases works on: things that end at a time and
// can be ended before, whoever keeps them. Tokens are such, by the path that
// they were made at; what engines issue is another source.
package leases
