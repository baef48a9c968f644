// Package wire is a TCP connection between two parts of a test that can be cut.
// While it is, nothing gets through; when it is mended, all that was sent
// meanwhile does, also of who has hung up since, as in a network that loses its
// packets for a while and repeats them.
package wire
