package fsm_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// model is the state machine as one would write it without a disk.
type model struct {
	rows  map[string]fsm.Row
	ids   map[string]fsm.Result
	index uint64
	time  int64
}

func newModel() *model {
	return &model{rows: make(map[string]fsm.Row), ids: make(map[string]fsm.Result)}
}

func (m *model) version(key []byte) uint64 { return m.rows[string(key)].Version }

func idTime(id string) int64 {
	return int64(binary.BigEndian.Uint64(append([]byte{0, 0}, id[:6]...))) * int64(time.Millisecond)
}

func (m *model) apply(e fsm.Entry, cmd *fsmpb.Command) fsm.Result {
	prune := e.Index/4096 != m.index/4096
	m.index, m.time = e.Index, max(m.time, cmd.GetTime())
	if prune {
		maps.DeleteFunc(m.ids, func(id string, _ fsm.Result) bool {
			return idTime(id)/1e6 < m.time/1e6-fsm.RequestRetention.Milliseconds()
		})
	}
	r := fsm.Result{Index: e.Index}
	if cmd == nil {
		return r
	}
	id := string(cmd.GetRequestId())
	if id != "" {
		if prior, ok := m.ids[id]; ok {
			return prior
		}
		switch at := idTime(id) / 1e6; {
		case at < m.time/1e6-fsm.RequestRetention.Milliseconds():
			r.Code = fsm.TooOld
			return r
		case at > m.time/1e6+(24*time.Hour).Milliseconds():
			r.Code = fsm.Invalid
			return r
		}
	}
	if cmd.GetFenceTerm() != 0 && cmd.GetFenceTerm() != e.Term {
		r.Code = fsm.StaleTerm
		return r
	}
	for i, c := range cmd.GetChecks() {
		row, ok := m.rows[string(c.GetKey())]
		if c.GetKind() == fsmpb.Check_EXISTS && !ok || c.GetKind() == fsmpb.Check_VERSION && row.Version != c.GetVersion() {
			r.Code, r.Failed = fsm.Conflict, i
			return r
		}
	}
	for _, w := range cmd.GetWrites() {
		m.write(e.Index, w)
	}
	if id != "" {
		m.ids[id] = fsm.Result{Code: fsm.Duplicate, Index: e.Index, Reply: cmd.GetReply()}
	}
	return r
}

func (m *model) write(index uint64, w *fsmpb.Write) {
	switch w.GetOp() {
	case fsmpb.Write_PUT:
		m.rows[string(w.GetKey())] = fsm.Row{Version: index, Expiry: w.GetExpiry(), Owner: w.GetOwner(), Value: w.GetValue()}
	case fsmpb.Write_DELETE:
		delete(m.rows, string(w.GetKey()))
	case fsmpb.Write_DELETE_PREFIX:
		maps.DeleteFunc(m.rows, func(key string, _ fsm.Row) bool { return strings.HasPrefix(key, string(w.GetKey())) })
	}
}

// compare reports what a view has otherwise than the model.
func (m *model) compare(v *fsm.View) error {
	if v.Index() != m.index || v.Time() != m.time {
		return fmt.Errorf("index %d and time %d, want %d and %d", v.Index(), v.Time(), m.index, m.time)
	}
	var got, want, gotExpiring, wantExpiring []string
	err := v.Scan(nil, nil, func(key []byte, row fsm.Row) (bool, []byte, error) {
		got = append(got, describe(string(key), row))
		return true, nil, nil
	})
	if err != nil {
		return err
	}
	owned := make(map[string][]string)
	for _, key := range slices.Sorted(maps.Keys(m.rows)) {
		row := m.rows[key]
		want = append(want, describe(key, row))
		if row.Expiry != 0 {
			wantExpiring = append(wantExpiring, fmt.Sprintf("%020d %s", row.Expiry, key))
		}
		if len(row.Owner) > 0 {
			owned[string(row.Owner)] = append(owned[string(row.Owner)], key)
		}
	}
	slices.Sort(wantExpiring)
	err = v.Expiring(epoch+1000, 0, func(expiry int64, key []byte) bool {
		gotExpiring = append(gotExpiring, fmt.Sprintf("%020d %s", expiry, key))
		return true
	})
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) || !slices.Equal(gotExpiring, wantExpiring) {
		return fmt.Errorf("rows\n%q\nwant\n%q\nexpiring\n%q\nwant\n%q", got, want, gotExpiring, wantExpiring)
	}
	for i := range 3 {
		owner := fmt.Sprintf("owner%d", i)
		var keys []string
		err := v.Owned([]byte(owner), nil, func(key []byte) bool {
			keys = append(keys, string(key))
			return true
		})
		if err != nil || !slices.Equal(keys, owned[owner]) {
			return fmt.Errorf("owned by %s: %q (%w), want %q", owner, keys, err, owned[owner])
		}
	}
	return nil
}

func describe(key string, row fsm.Row) string {
	return fmt.Sprintf("%s=%d,%d,%s,%s", key, row.Version, row.Expiry, row.Owner, row.Value)
}

// history makes entries at random with what the model says of them.
func history(t *testing.T, seed uint64, n int) (entries []fsm.Entry, results []fsm.Result, final *model) {
	g, m := newGenerator(seed), newModel()
	for range n {
		e, cmd := g.next(t, m.version)
		entries = append(entries, e)
		results = append(results, m.apply(e, cmd))
	}
	return entries, results, m
}

// TestModel applies random histories in groups of random size and compares
// every result, every row and both indexes with the model.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s, g, m := open(t, nil), newGenerator(seed), newModel()
			groups := rand.New(rand.NewPCG(seed, 2))
			seen := make(map[fsm.Code]int)
			for range 80 {
				var entries []fsm.Entry
				var want []fsm.Result
				for range 1 + groups.IntN(25) {
					e, cmd := g.next(t, m.version)
					entries = append(entries, e)
					want = append(want, m.apply(e, cmd))
				}
				got := s.ApplyBatch(entries)
				for i := range got {
					seen[got[i].Code]++
					if !equalResult(got[i], want[i]) {
						t.Fatalf("entry %d: %+v, want %+v", entries[i].Index, got[i], want[i])
					}
				}
				v := s.View()
				err := m.compare(v)
				v.Close()
				if err != nil {
					t.Fatal(err)
				}
			}
			for code := fsm.OK; code <= fsm.Invalid; code++ {
				if seen[code] == 0 {
					t.Errorf("no command was answered %q: the test is too weak", code)
				}
			}
		})
	}
}

func equalResult(a, b fsm.Result) bool {
	return a.Code == b.Code && a.Index == b.Index && a.Failed == b.Failed && bytes.Equal(a.Reply, b.Reply)
}

// TestGrouping applies one history in different groups to empty stores: every
// result and the checksum of the final state are the same.
func TestGrouping(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		entries, results, _ := history(t, seed, 1500)
		var sums [][32]byte
		for _, size := range []int{1, 7, 64, len(entries)} {
			s := open(t, nil)
			var got []fsm.Result
			for chunk := range slices.Chunk(entries, size) {
				got = append(got, s.ApplyBatch(chunk)...)
			}
			if !slices.EqualFunc(got, results, equalResult) {
				t.Fatalf("seed %d: groups of %d give other results", seed, size)
			}
			sums = append(sums, checksum(t, s))
		}
		for _, sum := range sums[1:] {
			if sum != sums[0] {
				t.Fatalf("seed %d: checksums differ: %x", seed, sums)
			}
		}
	}
}

// TestChecksumSeesEverything changes one thing at a time.
func TestChecksumSeesEverything(t *testing.T) {
	t.Parallel()
	base := func() *fsmpb.Command {
		return &fsmpb.Command{
			Time: epoch, RequestId: requestID(epoch, 1), Reply: []byte("r"),
			Writes: []*fsmpb.Write{{Key: []byte("a"), Value: []byte("v"), Expiry: 5, Owner: []byte("o")}},
		}
	}
	variants := map[string]func(*fsmpb.Command){
		"same":    func(*fsmpb.Command) {},
		"time":    func(c *fsmpb.Command) { c.Time++ },
		"id":      func(c *fsmpb.Command) { c.RequestId = requestID(epoch, 2) },
		"reply":   func(c *fsmpb.Command) { c.Reply = []byte("s") },
		"key":     func(c *fsmpb.Command) { c.Writes[0].Key = []byte("b") },
		"value":   func(c *fsmpb.Command) { c.Writes[0].Value = []byte("w") },
		"expiry":  func(c *fsmpb.Command) { c.Writes[0].Expiry = 6 },
		"owner":   func(c *fsmpb.Command) { c.Writes[0].Owner = []byte("p") },
		"nothing": func(c *fsmpb.Command) { c.Writes = nil },
	}
	sums := make(map[[32]byte]string)
	for _, name := range slices.Sorted(maps.Keys(variants)) {
		cmd := base()
		variants[name](cmd)
		s := open(t, nil)
		apply(t, s, 1, 1, cmd)
		sum := checksum(t, s)
		if other, ok := sums[sum]; ok {
			t.Errorf("%q and %q have one checksum", name, other)
		}
		sums[sum] = name
	}
	s := open(t, nil)
	apply(t, s, 1, 1, base())
	if got := sums[checksum(t, s)]; got != "same" {
		t.Errorf("the same command gives another checksum (%q)", got)
	}
	if !reflect.DeepEqual(checksum(t, open(t, nil)), checksum(t, open(t, nil))) {
		t.Error("empty stores differ")
	}
}
