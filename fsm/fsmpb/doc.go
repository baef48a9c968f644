// Package fsmpb holds the commands of the state machine as they stand in the
// Raft log. Its code is made by protoc from command.proto (`make proto`). Fields
// are only ever added, with new numbers: a log that was written by one version
// must mean the same to every later one.
package fsmpb
