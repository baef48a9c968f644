package cluster

import (
	"github.com/coffer-secrets/coffer/fsm"
)

// ClusterClock and its methods are for the tests of cluster time, whose cases
// a running node meets only by chance.
type ClusterClock = clusterClock

func NewClusterClock(c Clock, stamp int64) *ClusterClock { return newClusterClock(c, stamp) }

func (c *clusterClock) Now() int64                    { return c.now() }
func (c *clusterClock) Applied(stamp int64, own bool) { c.applied(stamp, own) }
func (c *clusterClock) Replayed(stamp int64)          { c.replayed(stamp) }

// WALLog is a log in raft-wal.
type WALLog = walLog

func OpenWAL(config Config, segmentBytes int) (*WALLog, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	return openWAL(&config, segmentBytes)
}

// OpenWithSegments opens a node with segments of raft-wal so small that they
// are often followed by another.
func OpenWithSegments(config Config, bytes int) (*Node, error) {
	return open(config, parts{fs: fsm.PrivateFS(), stores: func(c *Config, halt func(error)) (*stores, error) {
		return openStoresOf(c, halt, bytes)
	}})
}
