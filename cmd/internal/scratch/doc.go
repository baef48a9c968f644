// Package scratch starts a PostgreSQL for trying things out: on a port of this
// machine only, with data in a temporary folder that go when it is closed, and
// with a password that is made up. It is whatever PostgreSQL is installed.
package scratch
