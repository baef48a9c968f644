package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

func put(t *testing.T, s *enginetest.Store, rows ...string) {
	t.Helper()
	tx := s.Begin()
	for _, path := range rows {
		if err := tx.Put(path, []byte(path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotAndOwnWrites(t *testing.T) {
	t.Parallel()
	s := enginetest.NewStore()
	put(t, s, "a", "d/x")
	tx := s.Begin()
	put(t, s, "b", "d/y")
	if entry, err := tx.Get("b"); entry != nil || err != nil {
		t.Errorf("sees what came after it: %v, %v", entry, err)
	}
	for _, err := range []error{tx.Put("c", nil), tx.Delete("a"), tx.Put("d/z/1", []byte("v"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if entry, err := tx.Get("a"); entry != nil || err != nil {
		t.Errorf("sees what it deleted: %v, %v", entry, err)
	}
	if entry, err := tx.Get("c"); entry == nil || len(entry.Value) != 0 || err != nil {
		t.Errorf("does not see its own write: %v, %v", entry, err)
	}
	for dir, want := range map[string]string{"": "[c d/]", "d/": "[x z/]", "d/z/": "[1]", "e/": "[]"} {
		if names, err := tx.List(dir, engines.Page{}); fmt.Sprint(names) != want || err != nil {
			t.Errorf("list %q: %v, %v, want %s", dir, names, err, want)
		}
	}
	if names, err := tx.List("", engines.Page{After: "c", Limit: 1}); fmt.Sprint(names) != "[d/]" || err != nil {
		t.Errorf("page: %v, %v", names, err)
	}
	if err := tx.DeletePrefix("d/"); err != nil {
		t.Fatal(err)
	}
	seen := 0
	if err := tx.Walk("", func(string) error { seen++; return nil }); err != nil || seen != 1 {
		t.Errorf("walk sees %d rows, %v, want 1", seen, err)
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		read, meanwhile string
		want            error
	}{
		"changed":      {"a", "a", enginetest.ErrConflict},
		"came to be":   {"new", "new", enginetest.ErrConflict},
		"another":      {"a", "b", nil},
		"nothing read": {"", "a", nil},
	} {
		s := enginetest.NewStore()
		put(t, s, "a", "b")
		tx := s.Begin()
		if c.read != "" {
			if _, err := tx.Get(c.read); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Put("mine", nil); err != nil {
			t.Fatal(err)
		}
		put(t, s, c.meanwhile)
		if err := tx.Commit(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestMalformedPaths(t *testing.T) {
	t.Parallel()
	tx := enginetest.NewStore().Begin()
	for _, path := range []string{"", "/", "a/", "/a", "a//b"} {
		_, err := tx.Get(path)
		if err == nil || tx.Put(path, nil) == nil || tx.Delete(path) == nil {
			t.Errorf("%q is taken as a row", path)
		}
	}
	for _, dir := range []string{"/", "a", "a//", "/a/"} {
		_, err := tx.List(dir, engines.Page{})
		if err == nil || tx.DeletePrefix(dir) == nil {
			t.Errorf("%q is taken as a folder", dir)
		}
	}
}

// recorder notes what the harness complains of.
type recorder struct {
	testing.TB
	complaints int
}

func (r *recorder) Errorf(string, ...any) { r.complaints++ }
func (r *recorder) Helper()               {}

// TestComplains breaks the contract in each way that the harness looks for.
func TestComplains(t *testing.T) {
	t.Parallel()
	runs := 0
	for name, c := range map[string]struct {
		trait   engines.Trait
		handler engines.Handler
		want    int
	}{
		"good": {engines.Writes, func(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
			return &engines.Response{Data: 1}, tx.Put("a", nil)
		}, 0},
		"writes in a read": {engines.Reads, func(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
			return nil, tx.Put("a", nil)
		}, 1},
		"another answer": {engines.Writes, func(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) {
			runs++
			return &engines.Response{Data: runs}, nil
		}, 1},
		"another write": {engines.Writes, func(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
			runs++
			return nil, tx.Put("a", []byte{byte(runs)})
		}, 1},
		"another error": {engines.Writes, func(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) {
			runs++
			return nil, engines.Invalidf("%d", runs)
		}, 1},
	} {
		r := &recorder{TB: t}
		e := &engines.Engine{Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Routes: []engines.Route{{Pattern: "x", Help: "x", Ops: []engines.Op{{Do: engines.Update, Trait: c.trait, Handler: c.handler}}}}}, nil
		}}
		// The answer does not matter, only the complaints.
		_, _ = enginetest.Mount(r, e, nil).Do(engines.Update, "x", nil, nil)
		if r.complaints != c.want {
			t.Errorf("%s: %d complaints, want %d", name, r.complaints, c.want)
		}
	}
}
