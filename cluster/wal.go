package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/coffer-secrets/coffer/fsm"
)

// walLog is a log in raft-wal that closes all its files, and keeps them to
// their owner. The library leaves its meta database open, and locked, when the
// log is closed.
type walLog struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

func openWAL(c *Config, segmentBytes int) (*walLog, error) {
	dir := filepath.Join(c.Dir, LogDir)
	if err := fsm.MakeDir(fsm.PrivateFS(), dir); err != nil {
		return nil, err
	}
	meta := new(metadb.BoltMetaDB)
	if err := mendWAL(dir, meta, segmentBytes); err != nil {
		return nil, errors.Join(err, meta.Close())
	}
	w, err := wal.Open(dir,
		wal.WithLogger(newRaftLogger(c.Logger)), wal.WithMetaStore(meta),
		wal.WithSegmentFiler(segment.NewFiler(dir, privateWALFiles{walfs.New()})),
		wal.WithSegmentSize(segmentBytes),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: open %s: %w", ErrCorrupt, LogDir, err), meta.Close())
	}
	l := &walLog{WAL: w, meta: meta}
	if err := os.Chmod(filepath.Join(dir, metadb.FileName), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close closes the log after the writes under way.
func (l *walLog) Close() error { return errors.Join(l.WAL.Close(), l.meta.Close()) }

// privateWALFiles are the files of the log, which the library would let
// everybody read.
type privateWALFiles struct{ *walfs.FS }

// Create implements types.VFS.
func (f privateWALFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	file, err := f.FS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(filepath.Join(dir, name), 0o600); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
