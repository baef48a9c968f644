// Package pgserver starts a PostgreSQL for tests: a data folder and a socket of
// its own in a temporary folder, a free port, and passwords by SCRAM. A
// superuser is called Admin. It is PostgreSQL's own binary, so what is tested
// against it is tested against the real thing.
package pgserver
