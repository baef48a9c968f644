package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// epoch is the cluster time at which the tests begin.
const epoch = int64(1_800_000_000) * int64(time.Second)

// open opens a store in memory, or in fs, and closes it with the test.
func open(t testing.TB, fs vfs.FS) *fsm.Store {
	t.Helper()
	if fs == nil {
		fs = vfs.NewMem()
	}
	s, err := fsm.Open(fsm.Options{Dir: "state", FS: fs, CacheBytes: 1 << 20, MemTableBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// openLarge opens a store with the default sizes.
func openLarge(t testing.TB, fs vfs.FS) *fsm.Store {
	t.Helper()
	s, err := fsm.Open(fsm.Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// encode encodes a command that need not be valid otherwise.
func encode(t testing.TB, cmd *fsmpb.Command) []byte {
	t.Helper()
	cmd.Version = fsm.CommandVersion
	data, err := fsm.Encode(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// apply applies one command and returns its result.
func apply(t testing.TB, s *fsm.Store, index, term uint64, cmd *fsmpb.Command) fsm.Result {
	t.Helper()
	return s.ApplyBatch([]fsm.Entry{{Index: index, Term: term, Data: encode(t, cmd)}})[0]
}

func put(key, value string) *fsmpb.Write {
	return &fsmpb.Write{Key: []byte(key), Value: []byte(value)}
}

func absent(key string) *fsmpb.Check { return &fsmpb.Check{Key: []byte(key)} }

// requestID makes an id of a time.
func requestID(at int64, n uint64) []byte {
	id := binary.BigEndian.AppendUint64(nil, uint64(at/int64(time.Millisecond))<<16)
	return binary.BigEndian.AppendUint64(id[:8], n)
}

func checksum(t testing.TB, s *fsm.Store) [32]byte {
	t.Helper()
	v := s.View()
	defer v.Close()
	sum, err := v.Checksum()
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func get(t testing.TB, s *fsm.Store, key string) (fsm.Row, bool) {
	t.Helper()
	v := s.View()
	defer v.Close()
	row, ok, err := v.Get([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return row, ok
}

// keys lists the keys of a range.
func keys(t testing.TB, v *fsm.View, start, end string) []string {
	t.Helper()
	var list []string
	err := v.Scan([]byte(start), []byte(end), func(key []byte, _ fsm.Row) (bool, []byte, error) {
		list = append(list, string(key))
		return true, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// snapshot returns the state as a stream.
func snapshot(t testing.TB, s *fsm.Store) []byte {
	t.Helper()
	v := s.View()
	defer v.Close()
	var b bytes.Buffer
	if err := v.WriteSnapshot(t.Context(), &b, []byte("cluster")); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// generator makes commands at random that meet each other often: few keys, few
// owners, request ids used again, versions that are right or nearly so.
type generator struct {
	rng   *rand.Rand
	index uint64
	term  uint64
	time  int64
	ids   [][]byte
}

func newGenerator(seed uint64) *generator {
	return &generator{rng: rand.New(rand.NewPCG(seed, 1)), index: 4000, term: 1, time: epoch}
}

func (g *generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

// next makes an entry; version is asked for the present version of a row.
func (g *generator) next(t testing.TB, version func(key []byte) uint64) (fsm.Entry, *fsmpb.Command) {
	g.index++
	if g.chance(2) {
		g.index += g.rng.Uint64N(2000)
	}
	if g.chance(2) {
		g.term++
	}
	if g.chance(60) {
		g.time += g.rng.Int64N(int64(30 * time.Second))
	}
	if g.chance(5) {
		return fsm.Entry{Index: g.index, Term: g.term}, nil // a change of the configuration
	}
	cmd := &fsmpb.Command{Time: g.time - g.rng.Int64N(int64(time.Second))}
	if g.chance(60) {
		cmd.RequestId, cmd.Reply = g.id(), fmt.Appendf(nil, "reply %d", g.index)
	}
	if g.chance(10) {
		cmd.FenceTerm = g.term - g.rng.Uint64N(2)
	}
	for range g.rng.IntN(3) {
		key := g.key()
		c := &fsmpb.Check{Key: key, Version: version(key)}
		switch {
		case g.chance(10):
			c.Version++
		case g.chance(20):
			c.Kind, c.Version = fsmpb.Check_EXISTS, 0
		}
		cmd.Checks = append(cmd.Checks, c)
	}
	for range g.rng.IntN(5) {
		cmd.Writes = append(cmd.Writes, g.write())
	}
	return fsm.Entry{Index: g.index, Term: g.term, Data: encode(t, cmd)}, cmd
}

func (g *generator) id() []byte {
	if len(g.ids) > 0 && g.chance(30) {
		return g.ids[g.rng.IntN(len(g.ids))]
	}
	at := g.time - g.rng.Int64N(int64(12*time.Minute))
	if g.chance(2) {
		at = g.time + int64(25*time.Hour)
	}
	id := requestID(at, g.rng.Uint64())
	g.ids = append(g.ids, id)
	return id
}

// key is in one of three tables, one of which never has indexed rows.
func (g *generator) key() []byte {
	return fmt.Appendf(nil, "%c%d/%d", "abc"[g.rng.IntN(3)], g.rng.IntN(3), g.rng.IntN(4))
}

func (g *generator) write() *fsmpb.Write {
	w := &fsmpb.Write{Key: g.key()}
	switch n := g.rng.IntN(100); {
	case n < 60:
		w.Value = fmt.Appendf(nil, "value %d", g.rng.Uint32())
		if w.Key[0] != 'b' && g.chance(50) {
			w.Expiry = epoch + g.rng.Int64N(100)
		}
		if w.Key[0] != 'b' && g.chance(50) {
			w.Owner = fmt.Appendf(nil, "owner%d", g.rng.IntN(3))
		}
	case n < 85:
		w.Op = fsmpb.Write_DELETE
	default:
		w.Op = fsmpb.Write_DELETE_PREFIX
		w.Key = w.Key[:1+g.rng.IntN(len(w.Key))]
	}
	return w
}

// sealed puts a body of records between a header at index 1 and a trailer.
func sealed(body []byte, count uint64) []byte {
	data := []byte("CofferSn")
	data = binary.BigEndian.AppendUint16(data, 1)
	data = binary.BigEndian.AppendUint16(data, 0)
	for range 3 {
		data = binary.BigEndian.AppendUint64(data, 1)
	}
	data = append(data, body...)
	data = binary.BigEndian.AppendUint16(data, 0)
	data = binary.BigEndian.AppendUint64(data, count)
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}
