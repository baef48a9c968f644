// Package harness starts real servers from a test: processes of the binary, on
// random loopback ports, with folders of their own, gone when the test ends.
//
// The binary is built once per test process, or is that of COFFER_BINARY. What
// a server logs is shown if its test fails. Nothing waits by sleeping: a server
// says on its standard output when it listens.
package harness
