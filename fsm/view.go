package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// tableIndexes holds, per table, the index of its last modification.
type tableIndexes [MaxTable + 1]uint64

// version is a published state. It is closed when the last view of it is.
type version struct {
	gen    *generation
	snap   *pebble.Snapshot
	at     state
	tables tableIndexes
	refs   atomic.Int64
}

// publish makes the applied state the one that views see. The caller holds
// applyMu, or has the store to itself.
func (s *Store) publish() {
	v := &version{gen: s.gen, snap: s.gen.db.NewSnapshot(), at: s.at, tables: s.tables}
	v.refs.Store(1)
	s.gen.acquire()
	if old := s.current.Swap(v); old != nil {
		old.release()
	}
	s.waiters.advance(v.at.index)
}

// tryAcquire takes a reference unless the last one is gone.
func (v *version) tryAcquire() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (v *version) release() {
	if v.refs.Add(-1) != 0 {
		return
	}
	if err := v.snap.Close(); err != nil {
		v.gen.store.logger.Error("closing a view", "error", err)
	}
	_ = v.gen.release() // logged there
}

// View is the state at one index. It never changes, and stays valid until it
// is closed, also over a restore. It may be used by several goroutines.
type View struct {
	v      *version
	closed atomic.Bool
}

// View returns the published state. The store must not be closed before; a
// view of a closed store is nil.
func (s *Store) View() *View {
	for {
		v := s.current.Load()
		if v == nil {
			return nil
		}
		if v.tryAcquire() {
			return &View{v: v}
		}
	}
}

// Close releases the view. A second call does nothing.
func (v *View) Close() {
	if v.closed.CompareAndSwap(false, true) {
		v.v.release()
	}
}

// Index is the index of the last entry that the view holds.
func (v *View) Index() uint64 { return v.v.at.index }

// Term is the term of that entry.
func (v *View) Term() uint64 { return v.v.at.term }

// Time is cluster time at that entry, in Unix nanoseconds.
func (v *View) Time() int64 { return v.v.at.time }

// TableIndex is the index of the last modification of any row of a table. It
// starts, with the process, at the index that the store was opened at: what was
// cached at an index at or above it is current.
func (v *View) TableIndex(table byte) uint64 {
	if int(table) >= len(v.v.tables) {
		return 0
	}
	return v.v.tables[table]
}

// Get returns the row under a key. Its bytes must not be changed: others share
// them.
func (v *View) Get(key []byte) (Row, bool, error) {
	if validateKey(key) != nil {
		return Row{}, false, nil //nolint:nilerr // no row can stand there
	}
	rows, index := v.v.gen.rows, v.v.at.index
	if row, ok, known := rows.get(key, index); known {
		return row, ok, nil
	}
	b, closer, err := v.v.snap.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		rows.keep(key, Row{}, false, index)
		return Row{}, false, nil
	}
	if err != nil {
		return Row{}, false, err
	}
	row, err := parseRow(b)
	row = row.clone()
	if err = errors.Join(err, closer.Close()); err == nil {
		rows.keep(key, row, true, index)
	}
	return row, err == nil, err
}

// Request returns at which index a command with a request id was applied, and
// the reply kept with it; ok is false if there is none, or it is forgotten.
func (v *View) Request(id []byte) (index uint64, reply []byte, ok bool, err error) {
	if len(id) != requestIDBytes {
		return 0, nil, false, nil
	}
	b, closer, err := v.v.snap.Get(appendRequestKey(nil, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil, false, nil
	}
	if err != nil {
		return 0, nil, false, err
	}
	prior, err := parseReply(b)
	reply = bytes.Clone(prior.reply)
	if err = errors.Join(err, closer.Close()); err != nil {
		return 0, nil, false, err
	}
	return prior.index, reply, true, nil
}

// Scan calls fn with the rows in [start, end) in ascending order of keys. An
// empty start is the first row, an empty end the last. Key and row are valid
// only during the call. fn ends the scan with more false, or jumps forward by
// returning the key to go on at; a key that is not ahead is an error.
func (v *View) Scan(start, end []byte, fn func(key []byte, row Row) (more bool, seek []byte, err error)) (err error) {
	lower, upper := []byte{MinTable}, []byte{MaxTable + 1}
	if bytes.Compare(start, lower) > 0 {
		lower = start
	}
	if len(end) > 0 && bytes.Compare(end, upper) < 0 {
		upper = end
	}
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	it, err := v.v.snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; {
		b, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		row, err := parseRow(b)
		if err != nil {
			return err
		}
		more, seek, err := fn(it.Key(), row)
		switch {
		case err != nil || !more:
			return err
		case seek == nil:
			ok = it.Next()
		case bytes.Compare(seek, it.Key()) <= 0:
			return errors.New("scan: seek to a key that is not ahead")
		default:
			ok = it.SeekGE(seek)
		}
	}
	return it.Error()
}

// Expiring calls fn with the rows whose expiry is at or before until, earliest
// first, at most limit of them (0: all), until it returns false. The key is
// valid only during the call.
func (v *View) Expiring(until int64, limit int, fn func(expiry int64, key []byte) bool) error {
	if until < 0 {
		return nil
	}
	upper := binary.BigEndian.AppendUint64([]byte{spaceExpiry}, uint64(until)+1)
	n := 0
	return v.scanIndex([]byte{spaceExpiry}, upper, func(k []byte) (bool, error) {
		if len(k) < 10 {
			return false, errors.New("malformed expiry index")
		}
		n++
		return fn(int64(binary.BigEndian.Uint64(k[1:])), k[9:]) && n != limit, nil
	})
}

// Owned calls fn with the keys of the rows of an owner, in ascending order and
// beginning behind the key after (nil: with the first), until it returns false.
// The key is valid only during the call.
func (v *View) Owned(owner, after []byte, fn func(key []byte) bool) error {
	if len(owner) == 0 || len(owner) > MaxOwnerBytes {
		return nil
	}
	prefix := appendOwnerKey(nil, owner, nil)
	lower := prefix
	if len(after) > 0 {
		lower = append(appendOwnerKey(nil, owner, after), 0)
	}
	return v.scanIndex(lower, appendOwnerKey(nil, owner, []byte{MaxTable + 1}), func(k []byte) (bool, error) {
		return fn(k[len(prefix):]), nil
	})
}

func (v *View) scanIndex(lower, upper []byte, fn func(key []byte) (bool, error)) (err error) {
	it, err := v.v.snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if more, err := fn(it.Key()); err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// Checksum is the SHA-256 of the logical state: the applied index, term and
// time, the request ids, the rows and the indexes, in order of keys, each key
// and value preceded by its length. Two replicas at one index have the same.
func (v *View) Checksum() (sum [32]byte, err error) {
	h := sha256.New()
	var buf []byte
	add := func(key, value []byte) {
		buf = binary.BigEndian.AppendUint32(buf[:0], uint32(len(key)))
		buf = append(buf, key...)
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(value)))
		h.Write(append(buf, value...))
	}
	add(stateKey(), v.v.at.append(nil))
	it, err := v.v.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceMeta + 1}})
	if err != nil {
		return sum, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return sum, errors.Join(err, it.Close())
		}
		add(it.Key(), value)
	}
	copy(sum[:], h.Sum(nil))
	return sum, errors.Join(it.Error(), it.Close())
}
