// Package outcomes lets requests wait for what an engine's Due does for them on
// the same node: both run on the leader.
package outcomes
