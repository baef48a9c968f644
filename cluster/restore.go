package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
)

const (
	// restoreFile holds a snapshot that is to replace the state, until it has.
	restoreFile = "restore.tmp"
	// maxSnapshotHeader is the longest that a snapshot's header can be.
	maxSnapshotHeader = 128
)

// RestoredKey is the row by which a state tells that it was restored, and from
// what. It comes with the state itself, so no node has the one without the other,
// and it stays until somebody removes it.
const RestoredKey = "brestored"

func restoredValue(index uint64, at int64) []byte {
	return fmt.Appendf(nil, `{"index":%d,"time":%d}`, index, at)
}

// RestoreSnapshot replaces the state of the cluster by a snapshot that
// WriteSnapshot wrote, and returns when a quorum has it. Only the leader can.
// Nothing has changed if the error wraps fsm.ErrSnapshot or ErrNotLeader; that
// of r means the same.
//
// The stream is kept on the disk and verified to its end first: Raft reads on
// the goroutine that leads, which must wait neither for a slow sender nor for
// the end of what turns out to be damaged.
func (n *Node) RestoreSnapshot(ctx context.Context, r io.Reader) error {
	return n.restore(ctx, r, func() error {
		if n.raft.State() != raft.Leader {
			return ErrNotLeader
		}
		return nil
	})
}

// FoundFrom makes the node the only voter of a new cluster that begins with a
// snapshot. Nothing has changed if the snapshot is not a whole one, or if the
// node is part of a cluster already, which is ErrBootstrapped.
func (n *Node) FoundFrom(ctx context.Context, r io.Reader) error {
	if founded, err := n.Bootstrapped(); err != nil || founded {
		return errors.Join(err, ErrBootstrapped)
	}
	found := func() error {
		if err := n.Bootstrap(); err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		_, _, err := n.LeadContext(ctx)
		return err
	}
	return n.restore(ctx, r, found)
}

// restore installs a snapshot when it is known to be whole, and ready says so.
func (n *Node) restore(ctx context.Context, r io.Reader, ready func() error) error {
	if !n.inflight.enter() {
		return ErrClosed
	}
	defer n.inflight.leave()
	if !n.restoring.TryLock() {
		return ErrRestoring
	}
	spooled, err := n.spool(ctx, r)
	if err != nil {
		n.restoring.Unlock()
		return fmt.Errorf("cluster: read the snapshot: %w", err)
	}
	if err := ready(); err != nil {
		n.restoring.Unlock()
		return errors.Join(err, spooled.remove())
	}
	done := make(chan error, 1)
	go func() {
		defer n.restoring.Unlock()
		err := n.raft.Restore(spooled.meta, spooled.file, enqueueTimeout)
		done <- errors.Join(err, spooled.remove())
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	case <-n.halted:
		return fmt.Errorf("%w: %w", ErrUnknown, n.err())
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%w: restore a snapshot: %w", ErrUnknown, err)
	default:
		return fmt.Errorf("cluster: restore a snapshot: %w", err)
	}
}

// spooledSnapshot is a snapshot on the disk that was verified.
type spooledSnapshot struct {
	fs   vfs.FS
	path string
	file vfs.File
	meta *raft.SnapshotMeta
}

func (s *spooledSnapshot) remove() error { return errors.Join(s.file.Close(), s.fs.Remove(s.path)) }

// spool copies a snapshot into a file, under a header that leaves the index for
// Raft to say: it is to be above that of every entry there is.
func (n *Node) spool(ctx context.Context, r io.Reader) (*spooledSnapshot, error) {
	buffered := bufio.NewReaderSize(contextReader{ctx, r}, maxSnapshotHeader)
	head, err := buffered.Peek(maxSnapshotHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	peeked, err := fsm.NewSnapshotReader(bytes.NewReader(head))
	if err != nil {
		return nil, err
	}
	header := peeked.Header()
	if len(n.config.ClusterID) > 0 && len(header.ClusterID) > 0 && !bytes.Equal(n.config.ClusterID, header.ClusterID) {
		return nil, ErrForeignSnapshot
	}
	fs := n.snapshots.fs
	out := &spooledSnapshot{fs: fs, path: fs.PathJoin(n.config.Dir, restoreFile)}
	file, err := fs.Create(out.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	index := header.Index
	mark := fsm.Row{Version: max(1, index), Value: restoredValue(index, header.Time)}
	header.Index, header.Term = 0, 0
	err = fsm.MarkSnapshot(file, buffered, header, []byte(RestoredKey), mark)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, errors.Join(err, fs.Remove(out.path))
	}
	if out.file, err = fs.Open(out.path); err != nil {
		return nil, err
	}
	info, err := out.file.Stat()
	if err != nil {
		return nil, errors.Join(err, out.remove())
	}
	out.meta = &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: index, Size: info.Size()}
	return out, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // that of the one call that reads
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
