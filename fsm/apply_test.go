package fsm_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

func TestConflictNamesTheCheckAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	apply(t, s, 5, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("a", "1")}})
	cmd := &fsmpb.Command{
		RequestId: requestID(0, 1),
		Checks:    []*fsmpb.Check{{Key: []byte("a"), Version: 5}, absent("b"), {Key: []byte("c"), Kind: fsmpb.Check_EXISTS}},
		Writes:    []*fsmpb.Write{put("a", "2"), put("b", "2")},
	}
	if r := apply(t, s, 6, 1, cmd); r.Code != fsm.Conflict || r.Failed != 2 || r.Index != 6 {
		t.Fatalf("%+v", r)
	}
	if row, _ := get(t, s, "a"); string(row.Value) != "1" || row.Version != 5 {
		t.Fatalf("a changed: %+v", row)
	}
	if _, ok := get(t, s, "b"); ok {
		t.Fatal("b is there")
	}
	// The same request may be tried again once the check holds.
	apply(t, s, 7, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("c", "")}})
	if r := apply(t, s, 8, 1, cmd); r.Code != fsm.OK {
		t.Fatalf("%+v", r)
	}
}

// TestGroupSeesItself applies dependent commands in one group.
func TestGroupSeesItself(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := requestID(0, 1)
	commands := []*fsmpb.Command{
		{Checks: []*fsmpb.Check{absent("a")}, Writes: []*fsmpb.Write{put("a", "1")}},
		{Checks: []*fsmpb.Check{absent("a")}, Writes: []*fsmpb.Write{put("a", "2")}},
		{Checks: []*fsmpb.Check{{Key: []byte("a"), Version: 1}}, RequestId: id, Writes: []*fsmpb.Write{put("a", "3")}},
		{RequestId: id, Writes: []*fsmpb.Write{put("a", "4")}},
		{Writes: []*fsmpb.Write{put("a/b", "x"), {Op: fsmpb.Write_DELETE_PREFIX, Key: []byte("a/")}, put("a/c", "y")}},
		{Checks: []*fsmpb.Check{absent("a/b"), {Key: []byte("a/c"), Version: 5}}, Writes: []*fsmpb.Write{{Op: fsmpb.Write_DELETE, Key: []byte("a/c")}}},
		{Checks: []*fsmpb.Check{absent("a/c")}},
	}
	want := []fsm.Code{fsm.OK, fsm.Conflict, fsm.OK, fsm.Duplicate, fsm.OK, fsm.OK, fsm.OK}
	entries := make([]fsm.Entry, len(commands))
	for i, cmd := range commands {
		entries[i] = fsm.Entry{Index: uint64(i + 1), Term: 1, Data: encode(t, cmd)}
	}
	for i, r := range s.ApplyBatch(entries) {
		if r.Code != want[i] {
			t.Errorf("entry %d: %+v, want %s", i+1, r, want[i])
		}
	}
	if row, _ := get(t, s, "a"); string(row.Value) != "3" {
		t.Errorf("a is %q", row.Value)
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := requestID(epoch, 1)
	cmd := func(at int64, id []byte) *fsmpb.Command {
		return &fsmpb.Command{Time: at, RequestId: id, Reply: []byte("first"), Writes: []*fsmpb.Write{put("a", "v")}}
	}
	if r := apply(t, s, 1, 1, cmd(epoch, id)); r.Code != fsm.OK {
		t.Fatalf("%+v", r)
	}
	retention := int64(fsm.RequestRetention)
	for _, c := range []struct {
		what  string
		index uint64
		at    int64
		id    []byte
		want  fsm.Code
	}{
		{"again", 2, epoch, id, fsm.Duplicate},
		{"just remembered", 3, epoch + retention, requestID(epoch, 2), fsm.OK},
		{"just forgotten", 4, epoch + retention + int64(time.Millisecond), requestID(epoch, 3), fsm.TooOld},
		{"old but still stored", 5, epoch + 2*retention, id, fsm.Duplicate},
		{"pruned", 4096, epoch + 2*retention, id, fsm.TooOld},
		{"far ahead", 4097, epoch, requestID(epoch+2*retention+int64(24*time.Hour)+int64(time.Millisecond), 4), fsm.Invalid},
		{"a day ahead", 4098, epoch, requestID(epoch+2*retention+int64(24*time.Hour), 5), fsm.OK},
	} {
		r := apply(t, s, c.index, 1, cmd(c.at, c.id))
		if r.Code != c.want {
			t.Errorf("%s: %+v, want %s", c.what, r, c.want)
		}
		if r.Code == fsm.Duplicate && (r.Index != 1 || string(r.Reply) != "first") {
			t.Errorf("%s: %+v, want index 1 and the first reply", c.what, r)
		}
	}
}

// TestPruneInOneGroup has a removal of ids and uses of them in one group.
func TestPruneInOneGroup(t *testing.T) {
	t.Parallel()
	id := requestID(epoch, 1)
	later := epoch + 2*int64(fsm.RequestRetention)
	entries := []fsm.Entry{
		{Index: 4095, Term: 1, Data: encode(t, &fsmpb.Command{Time: epoch, RequestId: id})},
		{Index: 4096, Term: 1, Data: encode(t, &fsmpb.Command{Time: later})},
		{Index: 4097, Term: 1, Data: encode(t, &fsmpb.Command{Time: later, RequestId: id})},
	}
	together, apart := open(t, nil), open(t, nil)
	if r := together.ApplyBatch(entries)[2]; r.Code != fsm.TooOld {
		t.Errorf("together: %+v", r)
	}
	for i := range entries {
		apart.ApplyBatch(entries[i : i+1])
	}
	if checksum(t, together) != checksum(t, apart) {
		t.Error("the checksums differ")
	}
}

func TestFencing(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for _, c := range []struct {
		fence, term uint64
		want        fsm.Code
	}{{0, 3, fsm.OK}, {3, 3, fsm.OK}, {2, 3, fsm.StaleTerm}, {4, 3, fsm.StaleTerm}} {
		r := apply(t, s, s.AppliedIndex()+1, c.term, &fsmpb.Command{FenceTerm: c.fence, Writes: []*fsmpb.Write{put("a", "v")}})
		if r.Code != c.want {
			t.Errorf("fence %d in term %d: %+v, want %s", c.fence, c.term, r, c.want)
		}
	}
	if row, _ := get(t, s, "a"); row.Version != 2 {
		t.Errorf("a stale command changed the row: %+v", row)
	}
}

// TestBounds has each bound at its limit and beyond it. What is beyond is
// refused by Encode, and answered Invalid if it is in the log all the same.
func TestBounds(t *testing.T) {
	t.Parallel()
	key := func(n int) []byte { return bytes.Repeat([]byte("k"), n) }
	writes := func(n int) []*fsmpb.Write {
		list := make([]*fsmpb.Write, n)
		for i := range list {
			list[i] = put("a", "")
		}
		return list
	}
	big := func(n int) []byte { return make([]byte, n) }
	for what, c := range map[string]struct {
		cmd *fsmpb.Command
		ok  bool
	}{
		"empty":              {&fsmpb.Command{}, true},
		"key":                {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: key(fsm.MaxKeyBytes)}}}, true},
		"long key":           {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: key(fsm.MaxKeyBytes + 1)}}}, false},
		"long key checked":   {&fsmpb.Command{Checks: []*fsmpb.Check{{Key: key(fsm.MaxKeyBytes + 1)}}}, false},
		"empty key":          {&fsmpb.Command{Writes: []*fsmpb.Write{{}}}, false},
		"empty key checked":  {&fsmpb.Command{Checks: []*fsmpb.Check{{}}}, false},
		"empty prefix":       {&fsmpb.Command{Writes: []*fsmpb.Write{{Op: fsmpb.Write_DELETE_PREFIX}}}, false},
		"first table":        {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte{fsm.MinTable}}}}, true},
		"below the tables":   {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte{fsm.MinTable - 1}}}}, false},
		"last table":         {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte{fsm.MaxTable}}}}, true},
		"above the tables":   {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte{fsm.MaxTable + 1}}}}, false},
		"owner":              {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: key(1), Owner: big(fsm.MaxOwnerBytes)}}}, true},
		"long owner":         {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: key(1), Owner: big(fsm.MaxOwnerBytes + 1)}}}, false},
		"negative expiry":    {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: key(1), Expiry: -1}}}, false},
		"negative time":      {&fsmpb.Command{Time: -1}, false},
		"short id":           {&fsmpb.Command{RequestId: big(15)}, false},
		"long id":            {&fsmpb.Command{RequestId: big(17)}, false},
		"deletion and value": {&fsmpb.Command{Writes: []*fsmpb.Write{{Op: fsmpb.Write_DELETE, Key: key(1), Value: big(1)}}}, false},
		"existence, version": {&fsmpb.Command{Checks: []*fsmpb.Check{{Key: key(1), Kind: fsmpb.Check_EXISTS, Version: 1}}}, false},
		"operations":         {&fsmpb.Command{Writes: writes(fsm.MaxOps)}, true},
		"many operations":    {&fsmpb.Command{Writes: writes(fsm.MaxOps), Checks: []*fsmpb.Check{absent("b")}}, false},
		"size":               {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: key(1), Value: big(fsm.MaxCommandBytes - 64)}}}, true},
		"large":              {&fsmpb.Command{Writes: []*fsmpb.Write{{Key: key(1), Value: big(fsm.MaxCommandBytes)}}}, false},
		"large reply":        {&fsmpb.Command{Reply: big(fsm.MaxCommandBytes)}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c.cmd.Version = fsm.CommandVersion
			_, err := fsm.Encode(c.cmd)
			if (err == nil) != c.ok || err != nil && !errors.Is(err, fsm.ErrInvalid) {
				t.Errorf("encode: %v", err)
			}
			data, err := proto.Marshal(c.cmd)
			if err != nil {
				t.Fatal(err)
			}
			s := open(t, nil)
			r := s.ApplyBatch([]fsm.Entry{{Index: 1, Term: 1, Data: data}})[0]
			if (r.Code == fsm.OK) != c.ok || (r.Code == fsm.Invalid) == c.ok {
				t.Errorf("apply: %+v", r)
			}
			if s.AppliedIndex() != 1 {
				t.Errorf("applied index %d", s.AppliedIndex())
			}
		})
	}
}

// TestErrorsNameNoKey keeps what a command holds out of error texts.
func TestErrorsNameNoKey(t *testing.T) {
	t.Parallel()
	err := fsm.Validate(&fsmpb.Command{Version: 1, Writes: []*fsmpb.Write{
		put("canary", "canary"), {Op: fsmpb.Write_DELETE, Key: []byte("canary"), Owner: []byte("canary")},
	}})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}

// halts reports whether applying the entries makes the store halt, and that it
// says why first.
func halts(t *testing.T, s func(fatal func(error)) *fsm.Store, entries ...fsm.Entry) (err error) {
	t.Helper()
	var told error
	store := s(func(err error) { told = err })
	defer func() {
		halted, ok := recover().(*fsm.Halted)
		if !ok {
			t.Fatal("the store did not halt")
		}
		if !errors.Is(halted, told) {
			t.Fatalf("told %v, halted with %v", told, halted)
		}
		err = told
	}()
	store.ApplyBatch(entries)
	return nil
}

func fresh(t *testing.T) func(func(error)) *fsm.Store {
	return func(fatal func(error)) *fsm.Store {
		s, err := fsm.Open(fsm.Options{Dir: "state", FS: vfs.NewMem(), Fatal: fatal})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
}

// TestUnknownHalts: what a newer version may have written is never skipped.
func TestUnknownHalts(t *testing.T) {
	t.Parallel()
	marshal := func(cmd *fsmpb.Command) []byte {
		data, err := proto.Marshal(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	field := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	unknown := func(m proto.Message) { m.ProtoReflect().SetUnknown(field) }
	nested := &fsmpb.Write{Key: []byte("a")}
	unknown(nested)
	check := absent("a")
	unknown(check)
	for what, data := range map[string][]byte{
		"version":        marshal(&fsmpb.Command{Version: 2}),
		"no version":     marshal(&fsmpb.Command{Time: 1}),
		"kind":           marshal(&fsmpb.Command{Version: 1, Kind: "new"}),
		"field":          append(marshal(&fsmpb.Command{Version: 1}), field...),
		"field of write": marshal(&fsmpb.Command{Version: 1, Writes: []*fsmpb.Write{nested}}),
		"field of check": marshal(&fsmpb.Command{Version: 1, Checks: []*fsmpb.Check{check}}),
		"operation":      marshal(&fsmpb.Command{Version: 1, Writes: []*fsmpb.Write{{Op: 9, Key: []byte("a")}}}),
		"kind of check":  marshal(&fsmpb.Command{Version: 1, Checks: []*fsmpb.Check{{Kind: 9, Key: []byte("a")}}}),
		"garbage":        {0xff, 0xff},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_ = halts(t, fresh(t), fsm.Entry{Index: 1, Term: 1, Data: data})
		})
	}
}

func TestReplayIsSkipped(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	entries := []fsm.Entry{
		{Index: 3, Term: 1, Data: encode(t, &fsmpb.Command{Writes: []*fsmpb.Write{put("a", "1")}})},
		{Index: 4, Term: 2, Data: encode(t, &fsmpb.Command{
			Checks: []*fsmpb.Check{{Key: []byte("a"), Version: 3}}, Writes: []*fsmpb.Write{put("a", "2")},
		})},
	}
	s.ApplyBatch(entries)
	before := checksum(t, s)
	for _, r := range append(s.ApplyBatch(entries), s.ApplyBatch(entries[:1])...) {
		if r.Code != fsm.OK {
			t.Errorf("%+v", r)
		}
	}
	if checksum(t, s) != before || s.AppliedIndex() != 4 || s.AppliedTerm() != 2 {
		t.Error("a replay changed the state")
	}
}

// TestForeignHistoryHalts: entries that cannot be of the history of the store.
func TestForeignHistoryHalts(t *testing.T) {
	t.Parallel()
	for what, entry := range map[string]fsm.Entry{
		"later term below the applied index": {Index: 9, Term: 6},
		"earlier term above it":              {Index: 11, Term: 4},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_ = halts(t, fresh(t), fsm.Entry{Index: 10, Term: 5}, entry)
		})
	}
}
