// Package sim runs clusters in one process, in simulated time: the nodes are
// real ones, on a transport, a log and a file system in memory, under
// testing/synctest, so that hours of elections, partitions, crashes and losses of
// power pass in seconds.
//
// A schedule follows from its seed: what the clients ask, and which faults come
// when. The Go scheduler chooses among what is ready at the same instant, so that
// a seed that failed fails again often, not always.
//
// What the clients saw is checked to be linearizable, for each key, with
// porcupine. Once everything is healed, a write must succeed within ten
// seconds, all nodes must come to one index, and their states be identical.
package sim
