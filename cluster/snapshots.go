package cluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
)

// Names within the folder of a snapshot.
const (
	// SnapshotMetaFile describes the snapshot. It is written last.
	SnapshotMetaFile = "meta.json"
	// SnapshotCheckpointDir holds a snapshot that this node took.
	SnapshotCheckpointDir = "checkpoint"
	// SnapshotStreamFile holds a snapshot that came from another node or from a
	// backup.
	SnapshotStreamFile = "state.snapshot"

	snapshotTmp     = ".tmp"
	snapshotsKept   = 2
	maxSnapshotMeta = 1 << 20
)

// SnapshotStore keeps the snapshots of one node. It is a raft.SnapshotStore.
//
// A snapshot that this node takes is a checkpoint of the store, mostly hard
// links, and becomes a stream only when a follower needs it.
type SnapshotStore struct {
	fs        vfs.FS
	dir       string
	clusterID []byte
	logger    *slog.Logger

	// mu guards the fields below, and keeps removal apart from opening.
	mu     sync.Mutex
	next   uint64                   // serial of the next snapshot
	inUse  map[string]*openSnapshot // by id
	doomed map[string]bool          // to be removed when nobody reads them
}

var _ raft.SnapshotStore = (*SnapshotStore)(nil)

// snapshotMeta is the content of SnapshotMetaFile.
type snapshotMeta struct {
	Raft raft.SnapshotMeta `json:"raft"`
	// Index is the applied index of the state inside. It may be above that of
	// Raft, since a checkpoint is taken while entries are applied.
	Index uint64 `json:"index"`
	// Stream says that the state is in SnapshotStreamFile.
	Stream bool `json:"stream"`
}

// snapshotEnvelope keeps a checksum beside the description.
type snapshotEnvelope struct {
	Meta   json.RawMessage `json:"meta"`
	CRC32C uint32          `json:"crc32c"`
}

// OpenSnapshots opens the snapshots in a folder, which is made if it is not
// there, and removes what was not finished. fs is where it is; nil:
// fsm.PrivateFS.
func OpenSnapshots(fs vfs.FS, dir string, clusterID []byte, logger *slog.Logger) (*SnapshotStore, error) {
	if fs == nil {
		fs = fsm.PrivateFS()
	}
	s := &SnapshotStore{
		fs: fs, dir: dir, clusterID: clusterID, logger: logger, next: 1,
		inUse: make(map[string]*openSnapshot), doomed: make(map[string]bool),
	}
	if err := fsm.MakeDir(fs, dir); err != nil {
		return nil, err
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, snapshotTmp) {
			if err := fs.RemoveAll(fs.PathJoin(dir, name)); err != nil {
				return nil, err
			}
			continue
		}
		if serial, ok := parseSnapshotID(name); ok {
			s.next = max(s.next, serial+1)
		}
	}
	return s, nil
}

func snapshotID(term, index, serial uint64) string {
	return fmt.Sprintf("%016x-%016x-%016x", term, index, serial)
}

func parseSnapshotID(id string) (serial uint64, ok bool) {
	var term, index uint64
	n, err := fmt.Sscanf(id, "%016x-%016x-%016x", &term, &index, &serial)
	return serial, err == nil && n == 3 && id == snapshotID(term, index, serial)
}

// list returns the sound snapshots, newest first.
func (s *SnapshotStore) list() ([]snapshotMeta, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, err
	}
	var metas []snapshotMeta
	for _, name := range names {
		if _, ok := parseSnapshotID(name); !ok || s.isDoomed(name) {
			continue
		}
		meta, err := s.readMeta(name)
		if err != nil {
			s.logger.Error("a snapshot is unreadable", "id", name, "error", err)
			continue
		}
		metas = append(metas, meta)
	}
	slices.SortFunc(metas, func(a, b snapshotMeta) int {
		return cmp.Or(cmp.Compare(b.Raft.Index, a.Raft.Index), cmp.Compare(b.Raft.Term, a.Raft.Term), cmp.Compare(b.Raft.ID, a.Raft.ID))
	})
	return metas, nil
}

func (s *SnapshotStore) isDoomed(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doomed[id]
}

// List implements raft.SnapshotStore. The sizes of checkpoints are not in it.
func (s *SnapshotStore) List() ([]*raft.SnapshotMeta, error) {
	metas, err := s.list()
	if err != nil {
		return nil, err
	}
	list := make([]*raft.SnapshotMeta, len(metas))
	for i := range metas {
		list[i] = &metas[i].Raft
	}
	return list, nil
}

func (s *SnapshotStore) readMeta(id string) (snapshotMeta, error) {
	f, err := s.fs.Open(s.fs.PathJoin(s.dir, id, SnapshotMetaFile))
	if err != nil {
		return snapshotMeta{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSnapshotMeta))
	if err = errors.Join(err, f.Close()); err != nil {
		return snapshotMeta{}, err
	}
	var envelope snapshotEnvelope
	if err := json.Unmarshal(data, &envelope); err != nil {
		return snapshotMeta{}, err
	}
	if castagnoli(envelope.Meta) != envelope.CRC32C {
		return snapshotMeta{}, errors.New("its description does not match its checksum")
	}
	var meta snapshotMeta
	if err := json.Unmarshal(envelope.Meta, &meta); err != nil {
		return snapshotMeta{}, err
	}
	if meta.Raft.ID != id {
		return snapshotMeta{}, errors.New("its description is of another snapshot")
	}
	return meta, nil
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// reap removes all but the newest snapshots. One that is being read goes when
// its reader does.
func (s *SnapshotStore) reap() {
	metas, err := s.list()
	if err != nil {
		s.logger.Error("list snapshots", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, meta := range metas[min(snapshotsKept, len(metas)):] {
		s.doomed[meta.Raft.ID] = true
		s.removeDoomedLocked(meta.Raft.ID)
	}
}

func (s *SnapshotStore) removeDoomedLocked(id string) {
	if !s.doomed[id] || s.inUse[id] != nil {
		return
	}
	// The new name says that it is not whole, should this be interrupted.
	path := s.fs.PathJoin(s.dir, id)
	err := s.fs.Rename(path, path+snapshotTmp)
	if err == nil {
		err = s.fs.RemoveAll(path + snapshotTmp)
	}
	if err != nil {
		s.logger.Error("remove a snapshot", "id", id, "error", err)
		return
	}
	delete(s.doomed, id)
}

// newest describes the newest snapshot; ok is false if there is none.
func (s *SnapshotStore) newest() (meta snapshotMeta, ok bool, err error) {
	metas, err := s.list()
	if err != nil || len(metas) == 0 {
		return snapshotMeta{}, false, err
	}
	return metas[0], true, nil
}
