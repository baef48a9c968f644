// Package members is who belongs to a cluster: what operators change about it,
// and what the leader changes by itself (the autopilot): it makes newcomers
// voters once they are stable, and removes the dead if it has been told to and
// enough are left.
//
// Health is judged by what followers answer to the leader of the log: when they
// last did, and how far their logs are. Nothing else is asked.
package members
