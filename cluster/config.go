package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
)

// Names within the folder of a node.
const (
	// RaftFile holds term, vote and, with LogStoreBolt, the log (raft-boltdb).
	RaftFile = "raft.db"
	// LogDir holds the log with LogStoreWAL (raft-wal).
	LogDir = "wal"
	// StateDir holds the state machine (package fsm).
	StateDir = "state"
	// SnapshotDir holds the snapshots, a folder each.
	SnapshotDir = "snapshots"
)

// Values of Config.LogStore.
const (
	LogStoreBolt = "bolt" // the default
	LogStoreWAL  = "wal"
)

// Defaults of Config.
const (
	DefaultSnapshotThreshold = 32 << 10
	DefaultTrailingLogs      = 16 << 10
	DefaultSnapshotInterval  = 10 * time.Second
	DefaultElectionTimeout   = 400 * time.Millisecond
	DefaultStallTimeout      = 10 * time.Second
	DefaultTickInterval      = 10 * time.Second
)

const (
	maxAppendEntries = 512
	lockTimeout      = time.Second
	commitTimeout    = 20 * time.Millisecond
)

// Config says how a node runs. Dir and NodeID are required.
type Config struct {
	// Dir is the folder of the node. It is made if it is not there.
	Dir string
	// NodeID names the node for ever, Address is where its peers reach it.
	NodeID, Address string
	// LogStore is LogStoreBolt ("" too) or LogStoreWAL.
	LogStore string
	// Transport reaches the peers, and must support pre-vote. nil: there are
	// none, and an in-memory transport is used.
	Transport raft.Transport
	// ClusterID marks the snapshots of this cluster; one with another mark is
	// refused. Empty: snapshots are not marked. At most fsm.MaxClusterID bytes.
	ClusterID []byte
	// Logger receives what the node reports; nil: nothing is logged.
	Logger *slog.Logger
	// Clock is what cluster time is made of; nil: the clock of the machine.
	Clock Clock
	// CacheBytes is the block cache of the state; 0: the default of fsm.
	CacheBytes int64
	// SnapshotThreshold is the number of entries after which a snapshot is
	// taken, SnapshotInterval how often that is looked at, and TrailingLogs how
	// many entries stay in the log behind a snapshot. 0: the defaults.
	SnapshotThreshold, TrailingLogs uint64
	SnapshotInterval                time.Duration
	// ElectionTimeout is how long a follower waits for a leader before it asks
	// for votes; a leader gives up a little sooner when its peers are silent. It
	// has to cover a slow fsync, since heartbeats wait for it. 0: 400 ms.
	ElectionTimeout time.Duration
	// StallTimeout is how long one write to the log or one batch of the state
	// machine may take before the node counts as broken. 0: 10 s.
	StallTimeout time.Duration
	// TickInterval is how often an idle leader puts the time into the log, so
	// that a follower's idea of it is never older. 0: 10 s; negative: never.
	TickInterval time.Duration
	// ReadIndex asks the node that leads, named by its id, for what its ReadIndex
	// returns; nil: only the leader reads.
	ReadIndex func(ctx context.Context, leader string) (uint64, error)
	// PeerTime asks another member, named by its id, for its Time, and waits no
	// longer than it is told; nil: the wall clock of this node tells how long it was
	// down.
	PeerTime func(member string, within time.Duration) (PeerTime, error)
	// Knows is the newest version of the format of commands that another member
	// says it knows; 0: nothing is known of it. nil: of none.
	Knows func(member string) uint32
	// HoldTimeout bounds how long a read waits for a leader. 0: ten times the
	// ElectionTimeout.
	HoldTimeout time.Duration
	// Fatal is told, once and on a goroutine of its own, why the node cannot go
	// on: a damaged log, a stalled disk, an unknown command. The node does
	// nothing any more by then; the process should end.
	Fatal func(error)
}

func (c *Config) complete() error {
	if c.Dir == "" || c.NodeID == "" {
		return errors.New("cluster: folder and node id are required")
	}
	if len(c.ClusterID) > fsm.MaxClusterID {
		return fmt.Errorf("cluster: cluster id of %d bytes, the limit is %d", len(c.ClusterID), fsm.MaxClusterID)
	}
	switch c.LogStore {
	case "":
		c.LogStore = LogStoreBolt
	case LogStoreBolt, LogStoreWAL:
	default:
		return fmt.Errorf("cluster: unknown log store %q, known are %q and %q", c.LogStore, LogStoreBolt, LogStoreWAL)
	}
	if c.Address == "" {
		c.Address = c.NodeID
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = systemClock{time.Now()}
	}
	orDefault(&c.SnapshotThreshold, DefaultSnapshotThreshold)
	orDefault(&c.TrailingLogs, DefaultTrailingLogs)
	orDefault(&c.SnapshotInterval, DefaultSnapshotInterval)
	orDefault(&c.ElectionTimeout, DefaultElectionTimeout)
	orDefault(&c.HoldTimeout, 10*c.ElectionTimeout)
	orDefault(&c.StallTimeout, DefaultStallTimeout)
	orDefault(&c.TickInterval, DefaultTickInterval)
	return nil
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// raftConfig is the configuration of the library.
func (c *Config) raftConfig() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.NodeID)
	rc.Logger = newRaftLogger(c.Logger)
	rc.HeartbeatTimeout = c.ElectionTimeout
	rc.ElectionTimeout = c.ElectionTimeout
	rc.LeaderLeaseTimeout = c.ElectionTimeout * 4 / 5
	rc.CommitTimeout = commitTimeout
	rc.MaxAppendEntries = maxAppendEntries
	rc.BatchApplyCh = true
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.SnapshotInterval = c.SnapshotInterval
	rc.TrailingLogs = c.TrailingLogs
	rc.NoSnapshotRestoreOnStart = true // the state keeps its own applied index
	rc.NoLegacyTelemetry = true
	rc.ShutdownOnRemove = false
	return rc
}
