package cluster

import (
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// format is what a release knows of commands.
type format struct {
	newest uint32 // version
	needs  func(*fsmpb.Command) uint32
	encode func(*fsmpb.Command) ([]byte, error)
}

func ownFormat() format {
	return format{newest: fsm.CommandVersion, needs: fsm.Needs, encode: fsm.Encode}
}

// CommandVersion is the newest version of the format that every member knows, as
// far as this node can tell: of whom nothing is known it expects only the first.
// A version that stands in the log already is known to all who can follow it.
func (n *Node) CommandVersion() uint32 {
	if n.format.newest == 1 {
		return 1
	}
	common := n.format.newest
	for _, m := range n.Members() {
		if m.ID == n.config.NodeID {
			continue
		}
		known := uint32(1)
		if n.config.Knows != nil {
			known = max(known, n.config.Knows(m.ID))
		}
		common = min(common, known)
	}
	return max(common, min(n.store.Spoken(), n.format.newest))
}
