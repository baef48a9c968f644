// Package mariadbserver starts a MariaDB for tests: a data folder and a socket of
// its own in a temporary folder, and a free port. A user who may do everything is
// called Admin. It is MariaDB's own binary, so what is tested against it is
// tested against the real thing.
package mariadbserver
