package cluster

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// ClusterClock and its methods are for the tests of cluster time, whose cases
// a running node meets only by chance.
type ClusterClock = clusterClock

func NewClusterClock(c Clock, stamp int64) *ClusterClock { return newClusterClock(c, stamp) }

func (c *clusterClock) Now() int64                    { return c.now() }
func (c *clusterClock) Applied(stamp int64, own bool) { c.applied(stamp, own) }
func (c *clusterClock) Replayed(stamp int64)          { c.replayed(stamp) }
func (c *clusterClock) Agreed(now int64)              { c.agreed(now) }
func (c *clusterClock) Told() PeerTime                { return c.told() }

// BestTime is what a leader takes for the time when it is told this, by a log
// whose last stamp is the one given.
func BestTime(stamp int64, told ...PeerTime) int64 {
	var all times
	for _, one := range told {
		all.add(one)
	}
	return all.best(stamp)
}

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

// OpenLater opens a node of a later release, which knows version 2 of commands:
// the one that needs it and how it is written are the test's.
func OpenLater(config Config, needs func(*fsmpb.Command) uint32, encode func(*fsmpb.Command) ([]byte, error)) (*Node, error) {
	return open(config, parts{fs: fsm.PrivateFS(), stores: openStores, format: format{newest: 2, needs: needs, encode: encode}})
}

// NewTransport is what a node puts around a transport.
func NewTransport(inner raft.Transport) (raft.Transport, error) {
	return newTransport(inner, systemClock{start: time.Now()})
}
