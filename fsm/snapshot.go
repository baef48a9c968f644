package fsm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A snapshot is a stream, all integers big-endian:
//
//	header   magic (8 bytes), format version (2), length of the cluster id (2),
//	         the cluster id, applied index (8), term (8), time (8)
//	records  length of the key (2), of the value (4), key, value
//	trailer  0 (2), number of records (8), SHA-256 of all before it (32)
//
// The records are the request ids and the rows, keys strictly ascending. The
// indexes are not in it; they are built again. Two replicas at one index write
// the same bytes.
const (
	snapshotMagic   = "CofferSn"
	snapshotVersion = 1

	// MaxClusterID is the longest cluster id in a snapshot, in bytes.
	MaxClusterID = 64

	snapshotHeaderBytes  = len(snapshotMagic) + 2 + 2 + 8 + 8 + 8 // without the cluster id
	snapshotTrailerBytes = 2 + 8 + sha256.Size
	recordHeaderBytes    = 2 + 4
	maxRecordKey         = MaxKeyBytes
	maxRecordValue       = MaxCommandBytes + MaxOwnerBytes + 64

	streamChunk = 128 << 10
)

// ErrSnapshot is wrapped by the error for a stream that is not a whole, sound
// snapshot.
var ErrSnapshot = errors.New("malformed snapshot")

// SnapshotHeader is what a snapshot says of itself.
type SnapshotHeader struct {
	// ClusterID is of the cluster that wrote it; it may be empty.
	ClusterID []byte
	// Index is the applied index of the state; 0: whoever restores it says.
	Index, Term uint64
	// Time is cluster time at that index, in Unix nanoseconds.
	Time int64
}

func (h SnapshotHeader) append(dst []byte) []byte {
	dst = append(dst, snapshotMagic...)
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.ClusterID)))
	dst = append(dst, h.ClusterID...)
	return state{h.Index, h.Term, h.Time}.append(dst)
}

// snapshotEncoder encodes a snapshot into buf, which the user of it drains.
type snapshotEncoder struct {
	buf    []byte
	hashed int // how much of buf is in the digest
	digest hash.Hash
	count  uint64
}

func newSnapshotEncoder(h SnapshotHeader) *snapshotEncoder {
	e := &snapshotEncoder{digest: sha256.New()}
	e.buf = h.append(e.buf)
	return e
}

func (e *snapshotEncoder) record(key, value []byte) {
	e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(len(key)))
	e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(len(value)))
	e.buf = append(append(e.buf, key...), value...)
	e.count++
}

func (e *snapshotEncoder) trailer() {
	e.buf = binary.BigEndian.AppendUint16(e.buf, 0)
	e.buf = binary.BigEndian.AppendUint64(e.buf, e.count)
	e.seal()
	e.buf = e.digest.Sum(e.buf)
	e.hashed = len(e.buf)
}

// seal digests what was encoded since the last time.
func (e *snapshotEncoder) seal() {
	e.digest.Write(e.buf[e.hashed:])
	e.hashed = len(e.buf)
}

// reset forgets what was drained.
func (e *snapshotEncoder) reset() { e.buf, e.hashed = e.buf[:0], 0 }

// snapshotStream reads a state as a snapshot.
type snapshotStream struct {
	it      *pebble.Iterator
	enc     *snapshotEncoder
	off     int
	started bool
	ended   bool
	err     error
}

// newSnapshotStream begins a stream over a database or a snapshot of one.
func newSnapshotStream(r pebble.Reader, h SnapshotHeader) (*snapshotStream, error) {
	it, err := newRecordIter(r)
	if err != nil {
		return nil, err
	}
	return &snapshotStream{it: it, enc: newSnapshotEncoder(h)}, nil
}

// Read implements io.Reader.
func (s *snapshotStream) Read(p []byte) (int, error) {
	for s.off == len(s.enc.buf) || !s.started {
		if s.err != nil {
			return 0, s.err
		}
		if s.ended {
			return 0, io.EOF
		}
		s.fill()
	}
	n := copy(p, s.enc.buf[s.off:])
	s.off += n
	return n, nil
}

// fill encodes the next chunk.
func (s *snapshotStream) fill() {
	var ok bool
	if s.started {
		s.enc.reset()
		s.off = 0
		ok = nextRecord(s.it)
	} else {
		s.started = true
		ok = firstRecord(s.it)
	}
	for ; ok; ok = nextRecord(s.it) {
		value, err := s.it.ValueAndErr()
		if err != nil {
			s.fail(err)
			return
		}
		s.enc.record(s.it.Key(), value)
		if len(s.enc.buf) >= streamChunk {
			s.enc.seal()
			return
		}
	}
	if err := s.it.Error(); err != nil {
		s.fail(err)
		return
	}
	s.enc.trailer()
	s.ended = true
}

func (s *snapshotStream) fail(err error) {
	s.err = fmt.Errorf("read the state for a snapshot: %w", err)
	s.enc.reset()
	s.off = 0
}

// Close implements io.Closer.
func (s *snapshotStream) Close() error { return s.it.Close() }

// newRecordIter iterates what a snapshot holds, with firstRecord and nextRecord.
func newRecordIter(r pebble.Reader) (*pebble.Iterator, error) {
	return r.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceRequest}, UpperBound: []byte{MaxTable + 1}})
}

func firstRecord(it *pebble.Iterator) bool { return skipIndexes(it, it.First()) }
func nextRecord(it *pebble.Iterator) bool  { return skipIndexes(it, it.Next()) }

// skipIndexes leaps over the indexes, which lie between request ids and rows.
func skipIndexes(it *pebble.Iterator, ok bool) bool {
	if ok && it.Key()[0] > spaceRequest && it.Key()[0] < MinTable {
		return it.SeekGE([]byte{MinTable})
	}
	return ok
}

// WriteSnapshot writes the view as a snapshot of the named cluster (the id may
// be empty).
func (v *View) WriteSnapshot(ctx context.Context, w io.Writer, clusterID []byte) error {
	if len(clusterID) > MaxClusterID {
		return fmt.Errorf("cluster id of %d bytes, the limit is %d", len(clusterID), MaxClusterID)
	}
	s, err := newSnapshotStream(v.v.snap, SnapshotHeader{clusterID, v.Index(), v.Term(), v.Time()})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, &contextReader{ctx, s})
	return errors.Join(err, s.Close())
}

// contextReader ends a copy with its context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives as long as the copy
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Snapshot is a hold on the state for a checkpoint of it.
type Snapshot struct{ gen *generation }

// Snapshot takes hold of the state. It does no work, so that it does not delay
// the entries behind it.
func (s *Store) Snapshot() (*Snapshot, error) {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.gen.acquire()
	return &Snapshot{s.gen}, nil
}

// Checkpoint makes all that was applied when the snapshot was taken durable,
// and writes it to a new folder, as hard links where the file system has them.
// What was applied since may be in it too: the folder tells its own index. It
// does not hold up ApplyBatch.
func (s *Snapshot) Checkpoint(dir string) error {
	if err := s.gen.db.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if err := s.gen.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Release ends the hold.
func (s *Snapshot) Release() { _ = s.gen.release() } // logged there

// Checkpoint is an open checkpoint folder.
type Checkpoint struct {
	db     *pebble.DB
	header SnapshotHeader
}

// OpenCheckpoint opens the folder of a checkpoint, for reading only. fs is
// where it is; nil: PrivateFS.
func OpenCheckpoint(fs vfs.FS, dir string) (*Checkpoint, error) {
	if fs == nil {
		fs = PrivateFS()
	}
	cache := pebble.NewCache(checkpointCacheBytes)
	defer cache.Unref()
	o := databaseOptions(fs, cache, discardLogger{})
	o.ReadOnly = true
	o.ErrorIfNotExists = true
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	at, _, err := readMeta(db)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open checkpoint: %w", err), db.Close())
	}
	return &Checkpoint{db: db, header: SnapshotHeader{Index: at.index, Term: at.term, Time: at.time}}, nil
}

const checkpointCacheBytes = 4 << 20

// Header describes the state in the checkpoint. It has no cluster id.
func (c *Checkpoint) Header() SnapshotHeader { return c.header }

// Stream reads the checkpoint as a snapshot of the named cluster. It must be
// closed before the checkpoint is.
func (c *Checkpoint) Stream(clusterID []byte) (io.ReadCloser, error) {
	h := c.header
	h.ClusterID = clusterID
	return newSnapshotStream(c.db, h)
}

// Size is the number of bytes that Stream reads, found by a pass over the keys.
func (c *Checkpoint) Size(clusterID []byte) (int64, error) {
	it, err := newRecordIter(c.db)
	if err != nil {
		return 0, err
	}
	size := int64(snapshotHeaderBytes + len(clusterID) + snapshotTrailerBytes)
	for ok := firstRecord(it); ok; ok = nextRecord(it) {
		value, err := it.ValueAndErr()
		if err != nil {
			return 0, errors.Join(err, it.Close())
		}
		size += int64(recordHeaderBytes + len(it.Key()) + len(value))
	}
	return size, errors.Join(it.Error(), it.Close())
}

// Close closes the checkpoint.
func (c *Checkpoint) Close() error { return c.db.Close() }

// discardLogger is for databases that are only read.
type discardLogger struct{}

func (discardLogger) Infof(string, ...any)  {}
func (discardLogger) Errorf(string, ...any) {}

func (discardLogger) Fatalf(format string, args ...any) {
	panic(fmt.Errorf("pebble: "+format, args...))
}

// SnapshotReader reads a snapshot strictly: sizes within bounds, keys
// ascending, every row well-formed, and nothing after the trailer. What it
// gave out is to be trusted only once Next returned io.EOF.
type SnapshotReader struct {
	r      io.Reader
	digest hash.Hash
	header SnapshotHeader
	buf    []byte
	last   []byte
	count  uint64
	size   int64
	err    error
}

// NewSnapshotReader reads the header of a snapshot. It may read r beyond the
// end of the snapshot; bytes there are an error. The error wraps ErrSnapshot unless reading itself failed.
func NewSnapshotReader(r io.Reader) (*SnapshotReader, error) {
	s := &SnapshotReader{r: bufio.NewReaderSize(r, streamChunk), digest: sha256.New()}
	b, err := s.read(len(snapshotMagic) + 4)
	if err != nil {
		return nil, err
	}
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return nil, malformed("it does not begin as one")
	}
	b = b[len(snapshotMagic):]
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return nil, malformed("format version %d, this is version %d", v, snapshotVersion)
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > MaxClusterID {
		return nil, malformed("cluster id of %d bytes", n)
	}
	if b, err = s.read(n + stateBytes); err != nil {
		return nil, err
	}
	at, err := parseState(b[n:])
	if err != nil || at.time < 0 {
		return nil, malformed("header")
	}
	s.header = SnapshotHeader{bytes.Clone(b[:n]), at.index, at.term, at.time}
	return s, nil
}

// Header is what the stream says of itself, not verified before its end.
func (s *SnapshotReader) Header() SnapshotHeader { return s.header }

// Size is the number of bytes read so far; at the end, that of the snapshot.
func (s *SnapshotReader) Size() int64 { return s.size }

// Next returns the next record, valid until the call after, or io.EOF after
// the last if the snapshot is whole and its checksum right.
func (s *SnapshotReader) Next() (key, value []byte, err error) {
	if s.err != nil {
		return nil, nil, s.err
	}
	key, value, s.err = s.next()
	return key, value, s.err
}

func (s *SnapshotReader) next() (key, value []byte, err error) {
	b, err := s.read(2)
	if err != nil {
		return nil, nil, err
	}
	n := int(binary.BigEndian.Uint16(b))
	if n == 0 {
		return nil, nil, s.trailer()
	}
	if b, err = s.read(4); err != nil {
		return nil, nil, err
	}
	m := int64(binary.BigEndian.Uint32(b))
	if n > maxRecordKey || m > maxRecordValue {
		return nil, nil, malformed("record of %d and %d bytes", n, m)
	}
	if b, err = s.read(n + int(m)); err != nil {
		return nil, nil, err
	}
	key, value = b[:n:n], b[n:]
	if bytes.Compare(key, s.last) <= 0 {
		return nil, nil, malformed("keys are not ascending")
	}
	if err := s.check(key, value); err != nil {
		return nil, nil, err
	}
	s.last = append(s.last[:0], key...)
	s.count++
	return key, value, nil
}

// check refuses a record that this package would not have written.
func (s *SnapshotReader) check(key, value []byte) error {
	var version uint64
	if key[0] == spaceRequest {
		prior, err := parseReply(value)
		if err != nil || len(key) != 1+requestIDBytes {
			return malformed("request id")
		}
		version = prior.index
	} else {
		row, err := parseRow(value)
		if err != nil || validateKey(key) != nil {
			return malformed("row")
		}
		version = row.Version
	}
	if version == 0 || s.header.Index != 0 && version > s.header.Index {
		return malformed("version %d of a record is not within the applied index", version)
	}
	return nil
}

func (s *SnapshotReader) trailer() error {
	b, err := s.read(8)
	if err != nil {
		return err
	}
	if n := binary.BigEndian.Uint64(b); n != s.count {
		return malformed("%d records, the trailer says %d", s.count, n)
	}
	want := s.digest.Sum(nil)
	if b, err = s.read(len(want)); err != nil {
		return err
	}
	if !bytes.Equal(b, want) {
		return malformed("checksum does not match")
	}
	var one [1]byte
	switch n, err := io.ReadFull(s.r, one[:]); {
	case n > 0:
		return malformed("bytes after the trailer")
	case errors.Is(err, io.EOF):
		return io.EOF
	default:
		return err
	}
}

// readStep bounds how much memory a length that was not verified can take
// before as many bytes have arrived.
const readStep = 64 << 10

// read returns the next n bytes, valid until the next call.
func (s *SnapshotReader) read(n int) ([]byte, error) {
	s.buf = s.buf[:0]
	for len(s.buf) < n {
		step := min(n-len(s.buf), max(readStep, len(s.buf)))
		at := len(s.buf)
		s.buf = append(s.buf, make([]byte, step)...)
		m, err := io.ReadFull(s.r, s.buf[at:])
		s.size += int64(m)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, malformed("it ends early")
		case err != nil:
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
	}
	s.digest.Write(s.buf)
	return s.buf, nil
}

// VerifySnapshot reads a snapshot to its end and returns its header and size.
func VerifySnapshot(r io.Reader) (SnapshotHeader, int64, error) {
	s, err := NewSnapshotReader(r)
	if err != nil {
		return SnapshotHeader{}, 0, err
	}
	for {
		if _, _, err := s.Next(); errors.Is(err, io.EOF) {
			return s.header, s.size, nil
		} else if err != nil {
			return SnapshotHeader{}, 0, err
		}
	}
}

// RewriteSnapshot copies a snapshot under another header. The copy is whole
// only if it returns nil; the versions of rows must lie within h.Index.
func RewriteSnapshot(w io.Writer, r io.Reader, h SnapshotHeader) error {
	return rewrite(w, r, h, nil, nil)
}

// MarkSnapshot is RewriteSnapshot with one row put in, or in the place of the
// one that was there: what came with a snapshot is then told from what came
// after it.
func MarkSnapshot(w io.Writer, r io.Reader, h SnapshotHeader, key []byte, row Row) error {
	if err := validateKey(key); err != nil {
		return err
	}
	return rewrite(w, r, h, key, appendRow(nil, row))
}

func rewrite(w io.Writer, r io.Reader, h SnapshotHeader, mark, markValue []byte) error {
	s, err := NewSnapshotReader(r)
	if err != nil {
		return err
	}
	s.header.Index = h.Index // the bound for versions
	e := newSnapshotEncoder(h)
	for {
		key, value, err := s.Next()
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return err
		}
		if mark != nil && (ended || bytes.Compare(key, mark) >= 0) {
			e.record(mark, markValue)
			if bytes.Equal(key, mark) {
				key = nil
			}
			mark = nil
		}
		if ended {
			e.trailer()
			_, err = w.Write(e.buf)
			return err
		}
		if key != nil {
			e.record(key, value)
		}
		if len(e.buf) >= streamChunk {
			e.seal()
			if _, err := w.Write(e.buf); err != nil {
				return err
			}
			e.reset()
		}
	}
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSnapshot, fmt.Sprintf(format, args...))
}
