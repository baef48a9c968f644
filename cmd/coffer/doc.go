// Command coffer is the one binary of Coffer: server, dev server and command
// line. It only puts together what cmd/internal has, and holds the version that
// a release is built with.
package main
