package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/crash"
	"github.com/coffer-secrets/coffer/fsm"
)

// ErrForeignSnapshot is returned for a snapshot of another cluster.
var ErrForeignSnapshot = errors.New("cluster: the snapshot is of another cluster")

// Create implements raft.SnapshotStore.
func (s *SnapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("cluster: unsupported snapshot version %d", version)
	}
	s.mu.Lock()
	id := snapshotID(term, index, s.next)
	s.next++
	s.mu.Unlock()
	k := &snapshotSink{s: s, tmp: s.fs.PathJoin(s.dir, id+snapshotTmp), meta: snapshotMeta{Raft: raft.SnapshotMeta{
		Version: version, ID: id, Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}}
	if err := s.fs.MkdirAll(k.tmp, 0o700); err != nil {
		return nil, err
	}
	return k, nil
}

// snapshotSink receives one snapshot, as a checkpoint or as a stream.
type snapshotSink struct {
	s    *SnapshotStore
	tmp  string
	meta snapshotMeta
	file vfs.File // of a stream
	done bool
}

// ID implements raft.SnapshotSink.
func (k *snapshotSink) ID() string { return k.meta.Raft.ID }

// Checkpoint stores the state of this node.
func (k *snapshotSink) Checkpoint(state *fsm.Snapshot) error {
	dir := k.s.fs.PathJoin(k.tmp, SnapshotCheckpointDir)
	if err := state.Checkpoint(dir); err != nil {
		return err
	}
	c, err := fsm.OpenCheckpoint(k.s.fs, dir)
	if err != nil {
		return err
	}
	k.meta.Index = c.Header().Index
	return c.Close()
}

// Write implements raft.SnapshotSink for a stream.
func (k *snapshotSink) Write(p []byte) (int, error) {
	if k.file == nil {
		f, err := k.s.fs.Create(k.streamPath(), vfs.WriteCategoryUnspecified)
		if err != nil {
			return 0, err
		}
		k.file = f
	}
	return k.file.Write(p)
}

func (k *snapshotSink) streamPath() string { return k.s.fs.PathJoin(k.tmp, SnapshotStreamFile) }

// Close implements raft.SnapshotSink: it verifies what was received and
// publishes it.
func (k *snapshotSink) Close() error {
	if k.done {
		return nil
	}
	if k.file != nil {
		if err := k.closeStream(); err != nil {
			return errors.Join(err, k.Cancel())
		}
	}
	if k.meta.Index == 0 {
		return errors.Join(errors.New("cluster: a snapshot of nothing"), k.Cancel())
	}
	if err := k.publish(); err != nil {
		return errors.Join(err, k.Cancel())
	}
	k.done = true
	k.s.reap()
	return nil
}

// closeStream makes the stream durable and checks it.
func (k *snapshotSink) closeStream() error {
	err := errors.Join(k.file.Sync(), k.file.Close())
	k.file = nil
	if err != nil {
		return err
	}
	f, err := k.s.fs.Open(k.streamPath())
	if err != nil {
		return err
	}
	header, size, err := fsm.VerifySnapshot(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if len(k.s.clusterID) > 0 && len(header.ClusterID) > 0 && !bytes.Equal(k.s.clusterID, header.ClusterID) {
		return ErrForeignSnapshot
	}
	if header.Index == 0 {
		header.Index, header.Term = k.meta.Raft.Index, k.meta.Raft.Term
		if err := k.rewrite(header); err != nil {
			return err
		}
	}
	k.meta.Stream, k.meta.Raft.Size, k.meta.Index = true, size, header.Index
	return nil
}

// rewrite gives the stream another header of the same size.
func (k *snapshotSink) rewrite(header fsm.SnapshotHeader) error {
	in, err := k.s.fs.Open(k.streamPath())
	if err != nil {
		return err
	}
	next := k.streamPath() + snapshotTmp
	out, err := k.s.fs.Create(next, vfs.WriteCategoryUnspecified)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	err = fsm.RewriteSnapshot(out, in, header)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close(), in.Close()); err != nil {
		return err
	}
	return k.s.fs.Rename(next, k.streamPath())
}

// publish writes the description and gives the folder its name.
func (k *snapshotSink) publish() error {
	meta, err := json.Marshal(k.meta)
	if err != nil {
		return err
	}
	envelope, err := json.Marshal(snapshotEnvelope{Meta: meta, CRC32C: castagnoli(meta)})
	if err != nil {
		return err
	}
	if err := fsm.WriteFileAtomic(k.s.fs, k.tmp, SnapshotMetaFile, envelope); err != nil {
		return err
	}
	crash.Before(crash.Snapshot)
	defer crash.After(crash.Snapshot)
	if err := k.s.fs.Rename(k.tmp, k.s.fs.PathJoin(k.s.dir, k.ID())); err != nil {
		return err
	}
	return fsm.SyncDir(k.s.fs, k.s.dir)
}

// Cancel implements raft.SnapshotSink.
func (k *snapshotSink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	var err error
	if k.file != nil {
		err = k.file.Close()
		k.file = nil
	}
	return errors.Join(err, k.s.fs.RemoveAll(k.tmp))
}
