// Command serve runs the stand-in for AWS in a process of its own, for tests that are
// not of this module: it prints where it answers and a key of the user who may do
// anything, and ends with its standard input.
package main
