// Package rig is the cluster that the chaos harness torments: real processes, on
// hosts of their own where the machine allows it, that can be killed, paused, cut
// off, and brought back.
package rig
