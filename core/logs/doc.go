// Package logs stands between the node's parts and where its log goes: it knows
// the parts by name, lets the level of each be changed while the node runs, and
// shows the log to those who follow it.
//
// A part is named by the attribute "part" of its logger; what has none belongs
// to the part "core". Levels changed here are this node's, and gone with the
// process. Whoever follows the log and does not keep up loses lines: nothing
// ever waits for them.
package logs
