// Package fsmtest is a test kit for what keeps its files through a vfs.FS: it
// shows what a loss of power would leave after every step that touches the
// disk.
package fsmtest
