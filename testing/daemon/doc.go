// Package daemon runs servers of others for tests: it finds an address for each, waits
// until it serves, stops it as a crash would and starts it again at the same address.
//
// Each has a host of its own among the addresses of this machine's loopback. A port
// that is free there stays so; at 127.0.0.1, the next connection that anything opens
// may take it between two starts.
package daemon
