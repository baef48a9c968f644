package cluster

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// Journal is a log, with term and vote, of a simulated node.
type Journal interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// OpenOn is Open for a simulated node: its log, term and vote are in a journal,
// all other files on fs.
func OpenOn(config Config, fs vfs.FS, journal Journal) (*Node, error) {
	return open(config, parts{fs: fs, stores: func(c *Config, halt func(error)) (*stores, error) {
		return &stores{stable: journal, log: newCheckedLog(journal, c.StallTimeout, halt)}, nil
	}})
}
