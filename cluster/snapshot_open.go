package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
)

// openSnapshot is a snapshot that is being read. A checkpoint is opened once
// for all its readers, since its folder can be locked only once.
type openSnapshot struct {
	readers int // guarded by the mutex of the store

	once       sync.Once
	checkpoint *fsm.Checkpoint // nil for a stream
	size       int64
	err        error
}

// Open implements raft.SnapshotStore. The size in the description is exact.
func (s *SnapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	o, err := s.hold(id)
	if err != nil {
		return nil, nil, err
	}
	meta, r, err := s.openHeld(id, o)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("cluster: open snapshot %s: %w", id, err), s.letGo(id))
	}
	return meta, &snapshotReader{ReadCloser: r, release: sync.OnceValue(func() error { return s.letGo(id) })}, nil
}

func (s *SnapshotStore) hold(id string) (*openSnapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := parseSnapshotID(id); !ok || s.doomed[id] {
		return nil, fmt.Errorf("cluster: no snapshot %q", id)
	}
	o := s.inUse[id]
	if o == nil {
		o = new(openSnapshot)
		s.inUse[id] = o
	}
	o.readers++
	return o, nil
}

func (s *SnapshotStore) letGo(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.inUse[id]
	if o.readers--; o.readers > 0 {
		return nil
	}
	delete(s.inUse, id)
	var err error
	if o.checkpoint != nil {
		err = o.checkpoint.Close()
	}
	s.removeDoomedLocked(id)
	return err
}

func (s *SnapshotStore) openHeld(id string, o *openSnapshot) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, err := s.readMeta(id)
	if err != nil {
		return nil, nil, err
	}
	if meta.Stream {
		f, err := s.fs.Open(s.fs.PathJoin(s.dir, id, SnapshotStreamFile))
		return &meta.Raft, f, err
	}
	o.once.Do(func() {
		o.checkpoint, o.err = fsm.OpenCheckpoint(s.fs, s.fs.PathJoin(s.dir, id, SnapshotCheckpointDir))
		if o.err == nil {
			o.size, o.err = o.checkpoint.Size(s.clusterID)
		}
	})
	if o.err != nil {
		return nil, nil, o.err
	}
	meta.Raft.Size = o.size
	r, err := o.checkpoint.Stream(s.clusterID)
	return &meta.Raft, r, err
}

// snapshotReader lets its snapshot go when it is closed. Raft closes what it had
// restored from once more after the state machine.
type snapshotReader struct {
	io.ReadCloser
	release func() error
	closed  sync.Once
}

// Close implements io.Closer.
func (r *snapshotReader) Close() (err error) {
	r.closed.Do(func() { err = errors.Join(r.ReadCloser.Close(), r.release()) })
	return err
}
