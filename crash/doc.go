// Package crash names the steps before and after which a node may be lost, each
// of them durable or outside of the node. In a build with the tag chaos a test
// can tell the process to end itself at one of them; in any other, as every release
// is, Before and After do nothing and leave nothing in the binary.
//
// Killing a process from outside hits such a place only by chance, and most of
// them take a few microseconds.
package crash
