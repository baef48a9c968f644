// Package load sends requests to a server of the API over many connections and
// times the answers. It parses no more of an answer than it must, so that it
// costs little beside a server on the same cores.
//
// A closed loop sends the next request of a connection when the last one is
// answered: it shows what a server can do. An open loop sends at a rate,
// whatever the server does, and counts an answer's time from when its request
// was due: it shows how long callers wait who do not wait for each other.
package load
