package fsm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// TestSnapshotRoundTrip takes a store of many rows through a stream, and
// through a checkpoint and a stream, to the same checksum.
func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	const rows, perCommand = 102_000, 1000
	fs := vfs.NewMem()
	s, other := openLarge(t, fs), openLarge(t, vfs.NewMem())
	for i := range rows / perCommand {
		cmd := &fsmpb.Command{Time: epoch + int64(i), RequestId: requestID(epoch, uint64(i))}
		for j := range perCommand {
			n := i*perCommand + j
			w := put(fmt.Sprintf("a/%06d", n*7919%rows), fmt.Sprintf("value %d", n))
			if n%3 == 0 {
				w.Expiry, w.Owner = epoch+int64(n), fmt.Appendf(nil, "owner %d", n%100)
			}
			cmd.Writes = append(cmd.Writes, w)
		}
		apply(t, s, uint64(i+1), 3, cmd)
	}
	want := checksum(t, s)
	direct := snapshot(t, s)
	header, size, err := fsm.VerifySnapshot(bytes.NewReader(direct))
	if err != nil || size != int64(len(direct)) || header.Index != rows/perCommand || header.Term != 3 ||
		header.Time != s.Time() || string(header.ClusterID) != "cluster" {
		t.Fatalf("%+v, %d of %d, %v", header, size, len(direct), err)
	}

	held, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Checkpoint("checkpoint"); err != nil {
		t.Fatal(err)
	}
	held.Release()
	c, err := fsm.OpenCheckpoint(fs, "checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	size, err = c.Size([]byte("cluster"))
	if err != nil || size != int64(len(direct)) {
		t.Errorf("size %d (%v), want %d", size, err, len(direct))
	}
	stream, err := c.Stream([]byte("cluster"))
	if err != nil {
		t.Fatal(err)
	}
	indirect, err := io.ReadAll(iotest.HalfReader(stream))
	if err := errors.Join(err, stream.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(direct, indirect) {
		t.Error("the checkpoint streams other bytes than the store")
	}

	apply(t, other, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("z", "gone")}})
	if err := other.Restore(bytes.NewReader(indirect)); err != nil {
		t.Fatal(err)
	}
	if checksum(t, other) != want || other.AppliedIndex() != s.AppliedIndex() || other.AppliedTerm() != 3 {
		t.Error("the restored state differs")
	}
}

// TestRestoredGoesOn applies the same entries to a store and to one restored
// from it.
func TestRestoredGoesOn(t *testing.T) {
	t.Parallel()
	entries, _, _ := history(t, 42, 2000)
	s, restored := open(t, nil), open(t, nil)
	s.ApplyBatch(entries[:1000])
	if err := restored.Restore(bytes.NewReader(snapshot(t, s))); err != nil {
		t.Fatal(err)
	}
	s.ApplyBatch(entries[1000:])
	restored.ApplyBatch(entries[900:])
	if checksum(t, s) != checksum(t, restored) {
		t.Error("the checksums differ")
	}
}

// small is a snapshot with every kind of record.
func small(t testing.TB) (*fsm.Store, []byte) {
	s := open(t, nil)
	apply(t, s, 3, 2, &fsmpb.Command{Time: epoch, RequestId: requestID(epoch, 1), Reply: []byte("reply"), Writes: []*fsmpb.Write{
		put("a", "plain"), put("b", ""), {Key: []byte("c"), Value: []byte("v"), Expiry: epoch, Owner: []byte("owner")},
	}})
	return s, snapshot(t, s)
}

// refused restores a bad snapshot: nothing may change.
func refused(t testing.TB, s *fsm.Store, data []byte, what string) {
	t.Helper()
	before := checksum(t, s)
	err := s.Restore(bytes.NewReader(data))
	if !errors.Is(err, fsm.ErrSnapshot) {
		t.Fatalf("%s: %v", what, err)
	}
	if _, _, err := fsm.VerifySnapshot(bytes.NewReader(data)); !errors.Is(err, fsm.ErrSnapshot) {
		t.Fatalf("%s: %v", what, err)
	}
	if checksum(t, s) != before {
		t.Fatalf("%s: the state changed", what)
	}
}

func TestTruncatedSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	s, data := small(t)
	for n := range data {
		refused(t, s, data[:n], fmt.Sprintf("the first %d of %d bytes", n, len(data)))
	}
	refused(t, s, append(data[:len(data):len(data)], 0), "a byte more")
	if err := s.Restore(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
}

func TestFlippedSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	s, data := small(t)
	for at := range data {
		for _, bit := range []byte{0x01, 0x80} {
			bad := bytes.Clone(data)
			bad[at] ^= bit
			refused(t, s, bad, fmt.Sprintf("byte %d with %#02x flipped", at, bit))
		}
	}
}

// TestMalformedBodies has records that no store would write, in streams whose
// checksum is right.
func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	record := func(key, value string) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(len(key)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
		return append(append(b, key...), value...)
	}
	const version0, version1, version2 = "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x01", "\x00\x00\x00\x00\x00\x00\x00\x02"
	const plain, id = "\x00" + version1, "\x01sixteen bytes id"
	s, _ := small(t)
	for what, c := range map[string]struct {
		body  []byte
		count uint64
	}{
		"count":              {record("a", plain), 2},
		"no count":           {record("a", plain), 0},
		"same key":           {append(record("a", plain), record("a", plain)...), 2},
		"descending":         {append(record("b", plain), record("a", plain)...), 2},
		"version 0":          {record("a", "\x00"+version0), 1},
		"version ahead":      {record("a", "\x00"+version2), 1},
		"short row":          {record("a", "\x00"), 1},
		"unknown flag":       {record("a", "\x04"+version1), 1},
		"expiry 0":           {record("a", "\x01"+version1+version0), 1},
		"negative expiry":    {record("a", "\x01"+version1+"\xff\xff\xff\xff\xff\xff\xff\xff"), 1},
		"no expiry":          {record("a", "\x01"+version1), 1},
		"empty owner":        {record("a", "\x02"+version1+"\x00\x00"), 1},
		"long owner":         {record("a", "\x02"+version1+"\x00\x05four"), 1},
		"no owner":           {record("a", "\x02"+version1), 1},
		"meta":               {record("\x00a", plain), 1},
		"expiry index":       {record("\x02aaaaaaaaa", plain), 1},
		"table out of range": {record("\x7f", plain), 1},
		"short id":           {record(id[1:], version1), 1},
		"long id":            {record(id+"x", version1), 1},
		"id without index":   {record(id, ""), 1},
		"id of index 0":      {record(id, version0), 1},
		"id of index ahead":  {record(id, version2), 1},
	} {
		refused(t, s, sealed(c.body, c.count), what)
	}
	if err := s.Restore(bytes.NewReader(sealed(append(record(id, version1), record("a", plain)...), 2))); err != nil {
		t.Error(err)
	}
}

// TestFailingReader is not a malformed snapshot, but changes nothing either.
func TestFailingReader(t *testing.T) {
	t.Parallel()
	s, data := small(t)
	before := checksum(t, s)
	boom := errors.New("boom")
	r := io.MultiReader(bytes.NewReader(data[:len(data)/2]), iotest.ErrReader(boom))
	if err := s.Restore(r); !errors.Is(err, boom) || errors.Is(err, fsm.ErrSnapshot) {
		t.Error(err)
	}
	if checksum(t, s) != before {
		t.Error("the state changed")
	}
}

func TestRewriteSnapshot(t *testing.T) {
	t.Parallel()
	s, data := small(t)
	var b bytes.Buffer
	if err := fsm.RewriteSnapshot(&b, bytes.NewReader(data), fsm.SnapshotHeader{ClusterID: []byte("x"), Time: epoch}); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(bytes.NewReader(b.Bytes())); !errors.Is(err, fsm.ErrSnapshot) {
		t.Errorf("a snapshot without an index: %v", err)
	}
	var c bytes.Buffer
	want := fsm.SnapshotHeader{ClusterID: []byte("x"), Index: 70, Term: 9, Time: epoch}
	if err := fsm.RewriteSnapshot(&c, &b, want); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(&c); err != nil {
		t.Fatal(err)
	}
	if row, ok := get(t, s, "c"); !ok || row.Version != 3 || s.AppliedIndex() != 70 || s.AppliedTerm() != 9 {
		t.Errorf("%+v %t at %d", row, ok, s.AppliedIndex())
	}
	below := fsm.SnapshotHeader{Index: 2, Term: 1}
	if err := fsm.RewriteSnapshot(io.Discard, bytes.NewReader(data), below); !errors.Is(err, fsm.ErrSnapshot) {
		t.Errorf("an index below a version: %v", err)
	}
}

// TestLyingLength takes no memory for bytes that do not come.
func TestLyingLength(t *testing.T) {
	t.Parallel()
	_, data := small(t)
	header := len("CofferSn") + 2 + 2 + len("cluster") + 24
	lie := bytes.Clone(data[:header+6])
	binary.BigEndian.PutUint16(lie[header:], 17)
	binary.BigEndian.PutUint32(lie[header+2:], fsm.MaxCommandBytes)
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, _, err := fsm.VerifySnapshot(bytes.NewReader(lie)); !errors.Is(err, fsm.ErrSnapshot) {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 1<<20 {
		t.Errorf("%d bytes for a snapshot of %d", allocated, len(lie))
	}
}

func TestSnapshotEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, _ := small(t)
	v := s.View()
	defer v.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.WriteSnapshot(ctx, io.Discard, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := v.WriteSnapshot(t.Context(), io.Discard, make([]byte, fsm.MaxClusterID+1)); err == nil {
		t.Error("an overlong cluster id is not refused")
	}
}

// TestCheckpointIsConsistent takes checkpoints while entries are applied: each
// has exactly the state of its index.
func TestCheckpointIsConsistent(t *testing.T) {
	t.Parallel()
	entries, _, _ := history(t, 7, 3000)
	sums := reference(t, entries)
	fs := vfs.NewMem()
	s := open(t, fs)
	s.ApplyBatch(entries[:1])
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; i < len(entries); i += 3 {
			s.ApplyBatch(entries[i:min(i+3, len(entries))])
		}
	}()
	for i := range 10 {
		held, err := s.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		least := s.AppliedIndex()
		dir := fmt.Sprintf("checkpoint-%d", i)
		if err := held.Checkpoint(dir); err != nil {
			t.Fatal(err)
		}
		held.Release()
		c, err := fsm.OpenCheckpoint(fs, dir)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := c.Stream(nil)
		if err != nil {
			t.Fatal(err)
		}
		restored := open(t, nil)
		if err := errors.Join(restored.Restore(stream), stream.Close(), c.Close()); err != nil {
			t.Fatal(err)
		}
		at := restored.AppliedIndex()
		if at < least || checksum(t, restored) != sums[at] {
			t.Fatalf("a checkpoint at %d (at least %d) has another state", at, least)
		}
	}
	<-done
}

// TestPrivateModes looks at the modes of everything on disk.
func TestPrivateModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	s, err := fsm.Open(fsm.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("a", "v")}})
	held, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	err = held.Checkpoint(filepath.Join(dir, "checkpoint"))
	held.Release()
	if err := errors.Join(err, s.Restore(bytes.NewReader(snapshot(t, s))), s.Close()); err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		files++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("%d files, %v", files, err)
	}
}

// FuzzSnapshot reads what may be a snapshot. What is accepted is written again
// as the same bytes, and restores.
func FuzzSnapshot(f *testing.F) {
	_, data := small(f)
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Add([]byte("CofferSn"))
	f.Fuzz(func(t *testing.T, data []byte) {
		header, _, err := fsm.VerifySnapshot(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, fsm.ErrSnapshot) {
				t.Fatal(err)
			}
			return
		}
		var b bytes.Buffer
		if err := fsm.RewriteSnapshot(&b, bytes.NewReader(data), header); err != nil || !bytes.Equal(b.Bytes(), data) {
			t.Fatalf("rewritten otherwise: %v", err)
		}
		s := open(t, nil)
		if err := s.Restore(bytes.NewReader(data)); (err == nil) != (header.Index != 0) {
			t.Fatal(err)
		}
		if header.Index != 0 && s.AppliedIndex() != header.Index {
			t.Fatal("another index")
		}
	})
}

// FuzzSnapshotBody puts what is fuzzed between a sound header and a sound
// trailer, which a random change would not get past.
func FuzzSnapshotBody(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x00\x0aa\x00\x00\x00\x00\x00\x00\x00\x00\x01v"), uint8(1))
	f.Fuzz(func(t *testing.T, body []byte, count uint8) {
		data := sealed(body, uint64(count))
		s := open(t, nil)
		before := checksum(t, s)
		if err := s.Restore(bytes.NewReader(data)); err != nil {
			if !errors.Is(err, fsm.ErrSnapshot) || checksum(t, s) != before {
				t.Fatal(err)
			}
			return
		}
		if again := snapshot(t, s); !bytes.Equal(again[len(again)-42-len(body):len(again)-42], body) {
			t.Fatalf("read %x, written as %x", data, again)
		}
	})
}

// FuzzCommand decodes what may be a command. What is accepted is encoded to
// something that decodes alike, and applying it answers or halts.
func FuzzCommand(f *testing.F) {
	g := newGenerator(1)
	for range 20 {
		e, _ := g.next(f, func([]byte) uint64 { return 0 })
		f.Add(e.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := fsm.Decode(data)
		if err != nil || len(data) == 0 {
			return
		}
		s := open(t, nil)
		r := s.ApplyBatch([]fsm.Entry{{Index: 1, Term: 1, Data: data}})[0]
		if (r.Code == fsm.Invalid) != (fsm.Validate(cmd) != nil) && len(cmd.GetRequestId()) == 0 {
			t.Fatalf("%+v, %v", r, fsm.Validate(cmd))
		}
		v := s.View()
		defer v.Close()
		if err := v.Scan(nil, nil, func([]byte, fsm.Row) (bool, []byte, error) { return true, nil, nil }); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkSnapshot streams a store of 100,000 rows.
func BenchmarkSnapshot(b *testing.B) {
	s := open(b, nil)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 100 {
		cmd := &fsmpb.Command{}
		for range 1000 {
			cmd.Writes = append(cmd.Writes, put(fmt.Sprintf("a/%016x", rng.Uint64()), string(make([]byte, 400))))
		}
		apply(b, s, uint64(i+1), 1, cmd)
	}
	v := s.View()
	defer v.Close()
	b.ResetTimer()
	for b.Loop() {
		if err := v.WriteSnapshot(b.Context(), io.Discard, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func TestMarkSnapshot(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	apply(t, s, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("b1", "v"), put("b3", "v")}})
	data := snapshot(t, s)
	for mark, want := range map[string][]string{"b0": {"b0", "b1", "b3"}, "b2": {"b1", "b2", "b3"}, "b3": {"b1", "b3"}, "b4": {"b1", "b3", "b4"}} {
		var out bytes.Buffer
		header := fsm.SnapshotHeader{Index: 1, Term: 1, Time: epoch}
		if err := fsm.MarkSnapshot(&out, bytes.NewReader(data), header, []byte(mark), fsm.Row{Version: 1, Value: []byte("m")}); err != nil {
			t.Fatal(err)
		}
		r, err := fsm.NewSnapshotReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			key, value, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, string(key)); string(key) == mark && !bytes.HasSuffix(value, []byte("m")) {
				t.Errorf("%s is not marked", mark)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", mark, got)
		}
	}
	if err := fsm.MarkSnapshot(io.Discard, bytes.NewReader(data), fsm.SnapshotHeader{}, []byte{1}, fsm.Row{}); err == nil {
		t.Error("a key that is none was put in")
	}
}
