// Package netns makes hosts with addresses of their own out of the network
// namespaces of one Linux machine, and a network between them that loses, delays
// and repeats what it is told to.
//
// Every host has a TUN device, and this process carries the packets from one to
// the other. So a link can be shaped in one direction alone, whatever the kernel
// was built with, and the network goes away with the process that made it. What
// stays behind after a kill -9, the namespaces and what runs in them, is removed
// by the next Up, which knows them by their names: they hold the id of a process
// that is not there any more.
//
// It takes the rights of root over the network; Main gets them in a user namespace
// where the machine lets anybody have one, and Possible tells whether they are
// there.
package netns
