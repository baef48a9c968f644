package mounts_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func plain() *engines.Engine {
	e := login()
	e.Class = engines.ClassSecret
	return e
}

func newTable(t *testing.T) (*state.Store, *mounts.Mounts) {
	t.Helper()
	s := kit.New(t, kit.Uninitialized())
	if err := s.Node.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Node.LeadContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	keyring, err := seal.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	barrier, err := seal.NewBarrier(keyring)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(barrier.Close)
	m, err := mounts.New([]*engines.Engine{plain()}, mounts.Limits{Default: time.Hour, Max: time.Hour}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return state.New(s.Node, barrier), m
}

func enable(t *testing.T, s *state.Store, m *mounts.Mounts, path string) {
	t.Helper()
	_, err := s.Update(t.Context(), func(tx *state.Tx) error {
		return m.Enable(t.Context(), tx, mounts.NewEntry(engines.ClassSecret, "test", path))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, tx *state.Tx, m *mounts.Mounts, path string) bool {
	t.Helper()
	r, err := m.Router(tx)
	if err != nil {
		t.Fatal(err)
	}
	_, _, ok := r.Find(path)
	return ok
}

// A request sees the table of the snapshot that it runs on, whatever other
// requests have made the router of.
func TestRouterIsThatOfTheSnapshot(t *testing.T) {
	t.Parallel()
	s, m := newTable(t)
	enable(t, s, m, "a")
	view := func(fn func(tx *state.Tx)) {
		t.Helper()
		if err := s.View(t.Context(), func(tx *state.Tx) error { fn(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	view(func(old *state.Tx) {
		enable(t, s, m, "b")
		view(func(tx *state.Tx) {
			if !has(t, tx, m, "b/x") {
				t.Error("a new mount is not found")
			}
		})
		if has(t, old, m, "b/x") || !has(t, old, m, "a/x") {
			t.Error("an old snapshot has the table of a newer one")
		}
		view(func(tx *state.Tx) {
			if !has(t, tx, m, "b/x") {
				t.Error("an old snapshot made others forget a mount")
			}
		})
	})
}

// What a transaction has not committed, no other sees.
func TestRouterOfAnAbandonedChange(t *testing.T) {
	t.Parallel()
	s, m := newTable(t)
	enable(t, s, m, "a")
	err := s.Local(func(tx *state.Tx) error {
		if err := m.Enable(t.Context(), tx, mounts.NewEntry(engines.ClassSecret, "test", "b")); err != nil {
			return err
		}
		if !has(t, tx, m, "b/x") {
			t.Error("a transaction does not see its own mount")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), func(tx *state.Tx) error {
		if has(t, tx, m, "b/x") {
			t.Error("a mount that was never committed is found")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	s, m := newTable(t)
	for _, path := range []string{"a", "b/c", "b/d"} {
		enable(t, s, m, path)
	}
	if err := s.View(t.Context(), func(tx *state.Tx) error {
		r, err := m.Router(tx)
		if err != nil {
			return err
		}
		for path, want := range map[string][2]string{
			"a": {"a/", ""}, "a/x/y": {"a/", "x/y"}, "b/c/x": {"b/c/", "x"}, "b/c": {"b/c/", ""},
			"b": {}, "b/x": {}, "ab": {}, "": {}, "x/a/": {},
		} {
			mounted, rest, ok := r.Find(path)
			got := ""
			if ok {
				got = mounted.Path
			}
			if got != want[0] || rest != want[1] {
				t.Errorf("%q: mount %q, rest %q; want %q", path, got, rest, want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
