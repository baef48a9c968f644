package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// TestViewOfRequests: a view tells which requests were applied by then.
func TestViewOfRequests(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := requestID(epoch, 1)
	before := s.View()
	defer before.Close()
	apply(t, s, 1, 1, &fsmpb.Command{Time: epoch, RequestId: id, Reply: []byte("reply")})
	after := s.View()
	defer after.Close()
	if _, _, ok, err := before.Request(id); ok || err != nil {
		t.Errorf("known before it was applied: %v", err)
	}
	if index, reply, ok, err := after.Request(id); index != 1 || string(reply) != "reply" || !ok || err != nil {
		t.Errorf("%d, %q, %v, %v", index, reply, ok, err)
	}
	for _, other := range [][]byte{nil, id[:15], append(id[:15:15], 0xff)} {
		if _, _, ok, err := after.Request(other); ok || err != nil {
			t.Errorf("%x is known: %v", other, err)
		}
	}
}

func TestViewDoesNotChange(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	apply(t, s, 1, 1, &fsmpb.Command{Time: 7, Writes: []*fsmpb.Write{put("a", "1")}})
	v := s.View()
	defer v.Close()
	apply(t, s, 2, 2, &fsmpb.Command{Time: 8, Writes: []*fsmpb.Write{put("a", "2"), put("b", "2")}})
	if row, _, err := v.Get([]byte("a")); err != nil || string(row.Value) != "1" {
		t.Errorf("%q, %v", row.Value, err)
	}
	if v.Index() != 1 || v.Term() != 1 || v.Time() != 7 || len(keys(t, v, "", "")) != 1 {
		t.Error("the view moved")
	}
	if s.Time() != 8 || s.AppliedTerm() != 2 {
		t.Error("the store did not")
	}
}

// TestViewOutlives keeps views over a restore and the end of the store.
func TestViewOutlives(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := open(t, fs)
	apply(t, s, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("a", "old")}})
	old := s.View()
	other := open(t, nil)
	apply(t, other, 9, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("a", "new")}})
	if err := s.Restore(bytes.NewReader(snapshot(t, other))); err != nil {
		t.Fatal(err)
	}
	present := s.View()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for v, want := range map[*fsm.View]string{old: "old", present: "new"} {
		row, ok, err := v.Get([]byte("a"))
		if err != nil || !ok || string(row.Value) != want {
			t.Errorf("%q, %t, %v; want %q", row.Value, ok, err, want)
		}
		v.Close()
		v.Close() // a second time does nothing
	}
	if s.View() != nil {
		t.Error("a closed store has a view")
	}
	names, err := fs.List("state")
	if err != nil || slices.Contains(names, "state-000001") {
		t.Errorf("the old state is still there: %v, %v", names, err)
	}
	// With the last view the lock is gone.
	if row, ok := get(t, open(t, fs), "a"); !ok || string(row.Value) != "new" {
		t.Errorf("reopened: %q, %t", row.Value, ok)
	}
}

func TestRowOwnsItsBytes(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	value := bytes.Repeat([]byte("v"), 1000)
	apply(t, s, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte("a"), Value: value, Owner: []byte("owner"), Expiry: 3}}})
	v := s.View()
	row, ok, err := v.Get([]byte("a"))
	v.Close()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(row.Value, value) || string(row.Owner) != "owner" || row.Expiry != 3 || row.Version != 1 {
		t.Errorf("%+v", row)
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	cmd := &fsmpb.Command{RequestId: requestID(0, 1)}
	for _, key := range []string{" first", "a/1", "a/2", "a/3/x", "a/3/y", "a/4", "b/1", "~last"} {
		cmd.Writes = append(cmd.Writes, &fsmpb.Write{Key: []byte(key), Expiry: 1, Owner: []byte("o")})
	}
	apply(t, s, 1, 1, cmd)
	v := s.View()
	defer v.Close()
	for _, c := range []struct {
		start, end string
		want       []string
	}{
		{"", "", []string{" first", "a/1", "a/2", "a/3/x", "a/3/y", "a/4", "b/1", "~last"}},
		{"\x00", "\xff", []string{" first", "a/1", "a/2", "a/3/x", "a/3/y", "a/4", "b/1", "~last"}},
		{"a/2", "a/4", []string{"a/2", "a/3/x", "a/3/y"}},
		{"a/", "b", []string{"a/1", "a/2", "a/3/x", "a/3/y", "a/4"}},
		{"b", "a", nil},
		{"a/1", "a/1", nil},
		{"", "\x10", nil},
	} {
		if got := keys(t, v, c.start, c.end); !slices.Equal(got, c.want) {
			t.Errorf("[%q, %q): %q, want %q", c.start, c.end, got, c.want)
		}
	}
	// As a directory: what lies below a/3/ is leapt over.
	var list []string
	err := v.Scan([]byte("a/"), []byte("a0"), func(key []byte, _ fsm.Row) (bool, []byte, error) {
		list = append(list, string(key))
		if bytes.HasPrefix(key, []byte("a/3/")) {
			return true, []byte("a/30"), nil
		}
		return string(key) != "a/4", nil, nil
	})
	if err != nil || !slices.Equal(list, []string{"a/1", "a/2", "a/3/x", "a/4"}) {
		t.Errorf("%q, %v", list, err)
	}
	boom := errors.New("boom")
	if err := v.Scan(nil, nil, func([]byte, fsm.Row) (bool, []byte, error) { return true, nil, boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	if err := v.Scan(nil, nil, func(key []byte, _ fsm.Row) (bool, []byte, error) { return true, key, nil }); err == nil {
		t.Error("a seek that does not go forward is not refused")
	}
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	row := func(key string, expiry int64, owner string) *fsmpb.Write {
		return &fsmpb.Write{Key: []byte(key), Expiry: expiry, Owner: []byte(owner)}
	}
	apply(t, s, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{
		row("l/1", 30, "o"), row("l/2", 10, "o"), row("l/3", 20, "oo"), row("l/4", 20, ""), row("l/5", 0, "o"), row("m/1", 40, "o"),
	}})
	v := s.View()
	defer v.Close()
	expiring := func(until int64, limit int) (list []string) {
		err := v.Expiring(until, limit, func(expiry int64, key []byte) bool {
			list = append(list, fmt.Sprint(expiry, " ", string(key)))
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got := expiring(20, 0); !slices.Equal(got, []string{"10 l/2", "20 l/3", "20 l/4"}) {
		t.Errorf("%q", got)
	}
	if got := expiring(1<<62, 2); !slices.Equal(got, []string{"10 l/2", "20 l/3"}) {
		t.Errorf("%q", got)
	}
	if got := expiring(9, 0); got != nil {
		t.Errorf("%q", got)
	}
	owned := func(owner, after string, most int) (list []string) {
		err := v.Owned([]byte(owner), []byte(after), func(key []byte) bool {
			list = append(list, string(key))
			return len(list) < most
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got := owned("o", "", 9); !slices.Equal(got, []string{"l/1", "l/2", "l/5", "m/1"}) {
		t.Errorf("%q", got)
	}
	if got := owned("o", "l/2", 1); !slices.Equal(got, []string{"l/5"}) {
		t.Errorf("%q", got)
	}
	if got := owned("", "", 9); got != nil {
		t.Errorf("%q", got)
	}
}

func TestTableIndex(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := open(t, fs)
	apply(t, s, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("a", "")}})
	apply(t, s, 2, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("b", "")}})
	apply(t, s, 3, 1, &fsmpb.Command{Checks: []*fsmpb.Check{absent("a")}, Writes: []*fsmpb.Write{put("a", "")}})
	apply(t, s, 4, 1, &fsmpb.Command{Writes: []*fsmpb.Write{{Op: fsmpb.Write_DELETE_PREFIX, Key: []byte("c")}}})
	index := func(table byte) uint64 {
		v := s.View()
		defer v.Close()
		return v.TableIndex(table)
	}
	for table, want := range map[byte]uint64{'a': 1, 'b': 2, 'c': 4, 'd': 0, 0x00: 0, 0xff: 0} {
		if got := index(table); got != want {
			t.Errorf("table %c: %d, want %d", table, got, want)
		}
	}
	old := s.View()
	defer old.Close()
	apply(t, s, 5, 1, &fsmpb.Command{Writes: []*fsmpb.Write{{Op: fsmpb.Write_DELETE, Key: []byte("a")}}})
	if old.TableIndex('a') != 1 || index('a') != 5 {
		t.Error("the index is not of the view")
	}
	data := snapshot(t, s)
	if err := open(t, nil).Restore(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if got := index('d'); got != 5 {
		t.Errorf("after a restore: %d", got)
	}
}

func TestWaitApplied(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	if err := s.WaitApplied(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range uint64(50) {
		wg.Go(func() {
			index := 1 + i%10
			if err := s.WaitApplied(t.Context(), index); err != nil || s.AppliedIndex() < index {
				t.Errorf("index %d: %v at %d", index, err, s.AppliedIndex())
			}
		})
	}
	cancelled, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if err := s.WaitApplied(cancelled, 1000); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	for i := range uint64(10) {
		apply(t, s, i+1, 1, &fsmpb.Command{})
	}
	cancel()
	wg.Wait()
	done := make(chan error)
	go func() { done <- s.WaitApplied(t.Context(), 1000) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, fsm.ErrClosed) {
		t.Error(err)
	}
}

// TestViewsUnderLoad takes views while entries are applied and states are
// restored: each is whole, and none is older than one before.
func TestViewsUnderLoad(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	apply(t, s, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("a", "1"), put("b", "1")}})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := uint64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				v := s.View()
				a, _, err := v.Get([]byte("a"))
				b, _, err2 := v.Get([]byte("b"))
				if err != nil || err2 != nil || a.Version != b.Version || a.Version != v.Index() || v.Index() < last {
					t.Errorf("a at %d, b at %d, view at %d after %d: %v %v", a.Version, b.Version, v.Index(), last, err, err2)
				}
				last = v.Index()
				v.Close()
			}
		})
	}
	for i := uint64(2); i < 400; i++ {
		value := fmt.Sprint(i)
		apply(t, s, i, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("a", value), put("b", value)}})
		if i%100 == 0 {
			if err := s.Restore(bytes.NewReader(snapshot(t, s))); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// TestViewsWhileRowsChange: whatever is kept in memory of rows, a view shows
// each as it was at its index, while others change and remove them.
func TestViewsWhileRowsChange(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	const entries, rows = 3000, 3
	// Entry i puts row i%rows, unless i is a multiple of 5, which removes it: by
	// its prefix if i is even.
	key := func(i uint64) string { return fmt.Sprintf("a/%d", i%rows) }
	var wg sync.WaitGroup
	for reader := range uint64(4) {
		wg.Go(func() {
			for n := uint64(0); ; n++ {
				v := s.View()
				index := v.Index()
				for i := index; i > 0 && i+rows > index; i-- {
					row, ok, err := v.Get([]byte(key(i)))
					if err != nil || ok != (i%5 != 0) || ok && row.Version != i {
						t.Errorf("reader %d at %d: row of entry %d: %v, version %d, %v", reader, index, i, ok, row.Version, err)
						v.Close()
						return
					}
				}
				v.Close()
				if index == entries {
					return
				}
			}
		})
	}
	for i := uint64(1); i <= entries; i++ {
		w := put(key(i), "v")
		switch {
		case i%10 == 0:
			w = &fsmpb.Write{Op: fsmpb.Write_DELETE_PREFIX, Key: []byte(key(i))}
		case i%5 == 0:
			w = &fsmpb.Write{Op: fsmpb.Write_DELETE, Key: []byte(key(i))}
		}
		apply(t, s, i, 1, &fsmpb.Command{Writes: []*fsmpb.Write{w}})
	}
	wg.Wait()
}

// TestManyRows reads more rows than are kept in memory, again and again.
func TestManyRows(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	const batches, each = 8, 900
	value := strings.Repeat("x", 5000)
	for i := range batches {
		cmd := &fsmpb.Command{}
		for j := range each {
			cmd.Writes = append(cmd.Writes, put(fmt.Sprintf("a/%d/%d", i, j), value))
		}
		apply(t, s, uint64(i+1), 1, cmd)
	}
	v := s.View()
	defer v.Close()
	for range 2 {
		for i := range batches {
			for j := range each {
				row, ok, err := v.Get(fmt.Appendf(nil, "a/%d/%d", i, j))
				if err != nil || !ok || row.Version != uint64(i+1) || len(row.Value) != len(value) {
					t.Fatalf("row %d/%d: %v, version %d, %d bytes, %v", i, j, ok, row.Version, len(row.Value), err)
				}
			}
		}
	}
}
