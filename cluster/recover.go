package cluster

import (
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
)

// PeersFile, if it is in the folder of a node when that is opened, says who the
// members are from now on, whoever they were: a list of
//
//	{"id": "…", "address": "host:port", "non_voter": false}
//
// It is for a cluster that has lost its quorum for good, and is removed once it
// has been obeyed.
const PeersFile = "peers.json"

// maxPeersBytes bounds the file.
const maxPeersBytes = 1 << 20

// recoverQuorum obeys PeersFile. What it does can be done again, should it be cut
// off. Entries that no quorum has confirmed count from here on.
func (n *Node) recoverQuorum(machine raft.FSM) error {
	fs := n.snapshots.fs
	path := fs.PathJoin(n.config.Dir, PeersFile)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() > maxPeersBytes {
		return fmt.Errorf("cluster: %s is too large", path)
	}
	configuration, err := raft.ReadConfigJSON(path)
	if err != nil {
		return fmt.Errorf("cluster: %s: %w", path, err)
	}
	member := false
	for _, s := range configuration.Servers {
		member = member || s.ID == raft.ServerID(n.config.NodeID)
	}
	if !member {
		return fmt.Errorf("cluster: %s does not name this node, %s", path, n.config.NodeID)
	}
	n.config.Logger.Warn("the members are set anew", "file", path, "members", len(configuration.Servers))
	err = raft.RecoverCluster(n.config.raftConfig(), recovering{machine}, n.stores.log, n.stores.stable, n.snapshots, n.transport, configuration)
	if err != nil {
		return fmt.Errorf("cluster: set the members by %s: %w", path, err)
	}
	if err := fs.Remove(path); err != nil {
		return err
	}
	return fsm.SyncDir(fs, n.config.Dir)
}

// recovering is a state machine whose snapshots let the state go by themselves:
// the library does not do it here.
type recovering struct{ raft.FSM }

// Snapshot implements raft.FSM.
func (r recovering) Snapshot() (raft.FSMSnapshot, error) {
	s, err := r.FSM.Snapshot()
	return passing{s}, err
}

type passing struct{ raft.FSMSnapshot }

// Persist implements raft.FSMSnapshot.
func (p passing) Persist(sink raft.SnapshotSink) error {
	defer p.Release()
	return p.FSMSnapshot.Persist(sink)
}
