// Package proxy is a network between nodes that are all on loopback, for where no
// hosts can be made: whoever dials another one reaches this process, which hands
// on what is said as the link between the two says.
//
// It carries streams, not packets. So a loss is the pause until the sender would
// have sent again, and what is late arrives in order: nobody who speaks TCP sees
// more of either. For the same reason nothing is repeated.
//
// Who dials is found in /proc, by the socket, since all come from one address.
package proxy
