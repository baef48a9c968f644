package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/coffer-secrets/coffer/crash"
	"github.com/coffer-secrets/coffer/fsm"
)

// ErrLocked is returned by Open if another process uses the folder.
var ErrLocked = errors.New("cluster: the folder is in use by another process")

// ErrCorrupt is wrapped by the errors of a log that is damaged.
var ErrCorrupt = errors.New("cluster: the Raft log is damaged")

// stableStore keeps term and vote.
type stableStore interface {
	raft.StableStore
	io.Closer
}

// stores are the open files of Raft.
type stores struct {
	stable stableStore
	log    *checkedLog
	wal    io.Closer // nil if the log is in stable
}

func openStores(c *Config, halt func(error)) (*stores, error) {
	return openStoresOf(c, halt, wal.DefaultSegmentSize)
}

func openStoresOf(c *Config, halt func(error), segmentBytes int) (*stores, error) {
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(c.Dir, RaftFile),
		BoltOptions: &bbolt.Options{
			Timeout:        lockTimeout,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: open %s: %w", RaftFile, err)
	}
	s := &stores{stable: bolt}
	var inner raft.LogStore = bolt
	if c.LogStore == LogStoreWAL {
		w, err := openWAL(c, segmentBytes)
		if err != nil {
			return nil, errors.Join(err, bolt.Close())
		}
		inner, s.wal = w, w
	}
	if err := fsm.SyncDir(fsm.PrivateFS(), c.Dir); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.log = newCheckedLog(inner, c.StallTimeout, halt)
	return s, nil
}

func (s *stores) close() error {
	var err error
	if s.wal != nil {
		err = s.wal.Close()
	}
	return errors.Join(err, s.stable.Close())
}

// checkedLog is a log store that puts a checksum on every entry and verifies
// it whenever the entry is read. The checksum stands behind the extensions of
// the entry: a format byte and the CRC-32C of index, term, type, data and
// extensions, big-endian.
type checkedLog struct {
	inner raft.LogStore
	stall time.Duration
	halt  func(error)
}

var (
	_ raft.LogStore          = (*checkedLog)(nil)
	_ raft.MonotonicLogStore = (*checkedLog)(nil)
)

const (
	checksumFormat = 1
	checksumBytes  = 1 + crc32.Size
)

func newCheckedLog(inner raft.LogStore, stall time.Duration, halt func(error)) *checkedLog {
	return &checkedLog{inner: inner, stall: stall, halt: halt}
}

// IsMonotonic implements raft.MonotonicLogStore.
func (l *checkedLog) IsMonotonic() bool {
	m, ok := l.inner.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// FirstIndex implements raft.LogStore.
func (l *checkedLog) FirstIndex() (uint64, error) { return l.inner.FirstIndex() }

// LastIndex implements raft.LogStore.
func (l *checkedLog) LastIndex() (uint64, error) { return l.inner.LastIndex() }

// StoreLog implements raft.LogStore.
func (l *checkedLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. The entries are not changed: they are
// also what is sent to the peers.
func (l *checkedLog) StoreLogs(entries []*raft.Log) error {
	sums := make([]byte, 0, len(entries)*checksumBytes)
	copies := make([]raft.Log, len(entries))
	stored := make([]*raft.Log, len(entries))
	for i, e := range entries {
		copies[i] = *e
		if len(e.Extensions) == 0 {
			at := len(sums)
			sums = appendChecksum(sums, e)
			copies[i].Extensions = sums[at:len(sums):len(sums)]
		} else {
			copies[i].Extensions = appendChecksum(append([]byte(nil), e.Extensions...), e)
		}
		stored[i] = &copies[i]
	}
	defer l.watch("append to the log")()
	crash.Before(crash.Append)
	err := l.inner.StoreLogs(stored)
	crash.After(crash.Append)
	return l.durable("append to the log", err)
}

// durable halts the node if what was to be durable is not. Raft would go on, and
// a follower whose disk was full for a moment would get nothing more until its
// leader restarts, though both look well.
func (l *checkedLog) durable(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("cluster: %s: %w", what, err)
		l.halt(err)
	}
	return err
}

// DeleteRange implements raft.LogStore.
func (l *checkedLog) DeleteRange(first, last uint64) error {
	defer l.watch("truncate the log")()
	return l.durable("truncate the log", l.inner.DeleteRange(first, last))
}

// GetLog implements raft.LogStore.
func (l *checkedLog) GetLog(index uint64, entry *raft.Log) error {
	err := l.inner.GetLog(index, entry)
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		return err
	case err != nil:
		err = fmt.Errorf("%w: entry %d: %w", ErrCorrupt, index, err)
	default:
		err = verifyChecksum(index, entry)
	}
	if err != nil {
		l.halt(err)
	}
	return err
}

// watch halts the node if what follows takes too long: a leader whose disk
// hangs would otherwise stay leader for ever.
func (l *checkedLog) watch(what string) (stop func()) {
	w := &watchdog{left: stallSlices}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(l.stall/stallSlices, func() {
		if w.bites(l.stall / stallSlices) {
			l.halt(fmt.Errorf("%w: %s took longer than %s", ErrStalled, what, l.stall))
		}
	})
	return w.stop
}

// stallSlices is how many times a watchdog looks. A process that was stopped from
// running, or a machine that slept, is late for one of them, which is no fault of
// the disk's.
const stallSlices = 8

// watchdog waits in slices for something to end.
type watchdog struct {
	mu    sync.Mutex
	timer *time.Timer
	left  int
}

// bites reports whether no slice is left; else it waits for the next.
func (w *watchdog) bites(slice time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 { // stopped
		return false
	}
	if w.left--; w.left == 0 {
		return true
	}
	w.timer.Reset(slice)
	return false
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = 0
	w.timer.Stop()
}

func appendChecksum(dst []byte, e *raft.Log) []byte {
	dst = append(dst, checksumFormat)
	return binary.BigEndian.AppendUint32(dst, checksum(e, e.Extensions))
}

func checksum(e *raft.Log, extensions []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var head [25]byte
	binary.BigEndian.PutUint64(head[:], e.Index)
	binary.BigEndian.PutUint64(head[8:], e.Term)
	head[16] = byte(e.Type)
	binary.BigEndian.PutUint64(head[17:], uint64(len(e.Data)))
	sum := crc32.Update(0, table, head[:])
	sum = crc32.Update(sum, table, e.Data)
	return crc32.Update(sum, table, extensions)
}

// verifyChecksum checks an entry as stored, and takes the checksum off it.
func verifyChecksum(index uint64, e *raft.Log) error {
	n := len(e.Extensions) - checksumBytes
	if n < 0 || e.Extensions[n] != checksumFormat {
		return fmt.Errorf("%w: entry %d has no checksum", ErrCorrupt, index)
	}
	want := binary.BigEndian.Uint32(e.Extensions[n+1:])
	if e.Index != index || checksum(e, e.Extensions[:n]) != want {
		return fmt.Errorf("%w: entry %d does not match its checksum", ErrCorrupt, index)
	}
	if e.Extensions = e.Extensions[:n]; n == 0 {
		e.Extensions = nil
	}
	return nil
}

// verify reads the entries above an index, that of a snapshot or 0: the log
// must go on from there without a gap.
func (l *checkedLog) verify(above uint64) error {
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if last > above && first > above+1 {
		return fmt.Errorf("%w: it begins at %d, the newest snapshot ends at %d", ErrLogLost, first, above)
	}
	for index := above + 1; index <= last; index++ {
		if err := l.GetLog(index, new(raft.Log)); err != nil {
			if errors.Is(err, raft.ErrLogNotFound) {
				err = fmt.Errorf("%w: entry %d is missing", ErrCorrupt, index)
			}
			return err
		}
	}
	return nil
}
