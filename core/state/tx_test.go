package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	before := r.Status().LastIndex
	for name, fn := range map[string]func(r *state.Region) error{
		"value": func(r *state.Region) error { return r.Put("a", make([]byte, 1<<20+1)) },
		"bytes": func(r *state.Region) error {
			var err error
			for i := 0; i < 5 && err == nil; i++ {
				err = r.Put(strconv.Itoa(i), make([]byte, 1<<20))
			}
			return err
		},
		"rows": func(r *state.Region) error {
			var err error
			for i := 0; i < 9000 && err == nil; i++ {
				err = r.Delete(strconv.Itoa(i))
			}
			return err
		},
		"reads": func(r *state.Region) error {
			for i := range 9000 {
				if _, err := r.Get(strconv.Itoa(i)); err != nil {
					return err
				}
			}
			return r.Put("a", nil)
		},
	} {
		_, err := s.Update(t.Context(), func(tx *state.Tx) error { return fn(region(tx)) })
		if engines.KindOf(err) != engines.KindTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := r.Status().LastIndex; after != before {
		t.Error("something too large reached the log")
	}
	put(t, s, "most", string(make([]byte, 1<<20)))
}

func TestReadingOneRowOftenIsOneCondition(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	put(t, s, "a", "1")
	update(t, s, func(r *state.Region) error {
		for range 20000 {
			if _, err := r.Get("a"); err != nil {
				return err
			}
		}
		return r.Put("b", nil)
	})
}

func TestNamesThatCannotBeStored(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	view(t, s, func(r *state.Region) error {
		for _, path := range []string{"a//b", "/a", string(bytes.Repeat([]byte("x"), 600)), string(bytes.Repeat([]byte("x/"), 1000)) + "x"} {
			_, err := r.Get(path)
			wantKind(t, err, engines.KindInvalid)
			wantKind(t, r.Put(path, nil), engines.KindInvalid)
		}
		return nil
	})
}

func TestRollbackForgetsOnlyWhatCameAfter(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	put(t, s, "kept", "old")
	if _, err := s.Update(t.Context(), func(tx *state.Tx) error {
		r := region(tx)
		if err := r.Put("before", []byte("x")); err != nil {
			return err
		}
		mark := tx.Mark()
		if err := errors.Join(r.Put("before", []byte("y")), r.Put("after", []byte("x")), r.DeletePrefix("")); err != nil {
			return err
		}
		tx.Rollback(mark)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"before": "x", "after": "", "kept": "old"} {
		if got := get(t, s, path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
}

func TestRowsAreIndexed(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	end := time.Unix(2_000_000_000, 5).UTC()
	update(t, s, func(r *state.Region) error {
		return errors.Join(
			r.PutRow("a", []byte("x"), state.PutOptions{Expiry: end, Owner: []byte("me")}),
			r.PutRow("b", nil, state.PutOptions{Owner: []byte("me")}),
			r.PutRow("c", nil, state.PutOptions{Owner: []byte("me too")}),
		)
	})
	view(t, s, func(r *state.Region) error {
		row, err := r.GetRow("a")
		if err != nil || !row.Expiry.Equal(end) || string(row.Owner) != "me" {
			t.Errorf("%+v, %v", row, err)
		}
		var due, owned [][]byte
		err = errors.Join(
			r.Tx().Expiring(end, 10, func(_ time.Time, key []byte) bool { due = append(due, key); return true }),
			r.Tx().Expiring(end.Add(-1), 10, func(time.Time, []byte) bool { t.Error("a row ends early"); return true }),
			r.Tx().Owned([]byte("me"), func(key []byte) bool { owned = append(owned, key); return true }),
		)
		key, _ := r.Key("a")
		if len(due) != 1 || !bytes.Equal(due[0], key) || len(owned) != 2 {
			t.Errorf("%d due, %d owned", len(due), len(owned))
		}
		return err
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	update(t, s, func(r *state.Region) error {
		return errors.Join(r.Put("d/a", nil), r.Put("d/b/x", nil), r.Put("d/b/y", nil), r.Put("d/b", nil), r.Put("d/c", nil), r.Put("e", nil))
	})
	view(t, s, func(r *state.Region) error {
		for _, c := range []struct {
			dir  string
			page engines.Page
			want []string
		}{
			{"", engines.Page{}, []string{"d/", "e"}},
			{"d/", engines.Page{}, []string{"a", "b", "b/", "c"}},
			{"d", engines.Page{Limit: 2}, []string{"a", "b"}},
			{"d/", engines.Page{After: "b", Limit: 1}, []string{"b/"}},
			{"d/", engines.Page{After: "bb"}, []string{"c"}},
			{"d/", engines.Page{After: "z"}, nil},
			{"d/", engines.Page{Limit: -1}, []string{"a", "b", "b/", "c"}},
			{"none/", engines.Page{}, nil},
		} {
			got, err := r.List(c.dir, c.page)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("list %q %+v: %q, %v", c.dir, c.page, got, err)
			}
		}
		return nil
	})
}

// TestListPages: pages of any size, of names put in no order, are the sorted list.
func TestListPages(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	var want []string
	update(t, s, func(r *state.Region) error {
		for i := range 60 {
			name := strconv.Itoa(i * 37 % 60)
			want = append(want, name, name+"/")
			if err := errors.Join(r.Put("d/"+name, nil), r.Put("d/"+name+"/x", nil)); err != nil {
				return err
			}
		}
		return nil
	})
	slices.Sort(want)
	for _, limit := range []int{0, 1, 7, 59, 60, 61, 120, 121, math.MaxInt} {
		var got []string
		for page := (engines.Page{Limit: limit}); ; page.After = got[len(got)-1] {
			var names []string
			view(t, s, func(r *state.Region) error {
				var err error
				names, err = r.List("d/", page)
				return err
			})
			if left := len(want) - len(got); limit > 0 && len(names) != min(limit, left) {
				t.Fatalf("limit %d: a page of %d where %d are left", limit, len(names), left)
			}
			if got = append(got, names...); len(names) == 0 || limit == 0 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
}

// TestWalkPages: a walk in parts visits each row once, also those below folders.
func TestWalkPages(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	var want []string
	update(t, s, func(r *state.Region) error {
		for i := range 10 {
			for _, path := range []string{strconv.Itoa(i), "f/" + strconv.Itoa(i)} {
				want = append(want, path)
				if err := r.Put("d/"+path, nil); err != nil {
					return err
				}
			}
		}
		return errors.Join(r.Put("c/x", nil), r.Put("e/x", nil))
	})
	slices.Sort(want)
	for _, limit := range []int{1, 3, 20, 21} {
		var got []string
		var from []byte
		for parts := 1; ; parts++ {
			var paths []string
			var next []byte
			view(t, s, func(r *state.Region) error {
				var err error
				paths, next, err = r.WalkPage("d/", from, limit)
				return err
			})
			from = next
			if got = append(got, paths...); from == nil {
				break
			}
			if len(paths) != limit || parts > len(want) {
				t.Fatalf("limit %d: part %d has %d", limit, parts, len(paths))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
}

// TestUnsortedPages: pages in the store's order hold each name once, also when the
// name that one begins behind is gone.
func TestUnsortedPages(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	var want []string
	update(t, s, func(r *state.Region) error {
		for i := range 20 {
			name := strconv.Itoa(i)
			want = append(want, name)
			if err := r.Put("d/"+name, nil); err != nil {
				return err
			}
		}
		return errors.Join(r.Put("c/x", nil), r.Put("e/x", nil))
	})
	slices.Sort(want)
	for _, limit := range []int{1, 3, 20, 21} {
		var got []string
		for after := ""; ; {
			var names []string
			view(t, s, func(r *state.Region) (err error) {
				names, err = r.List("d/", engines.Page{After: after, Limit: limit, Unsorted: true})
				return err
			})
			if len(names) == 0 {
				break
			}
			if len(names) > limit || len(got) > len(want) {
				t.Fatalf("limit %d: a page has %d, after %d", limit, len(names), len(got))
			}
			got, after = append(got, names...), names[len(names)-1]
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
	var before, after []string
	list := func(to *[]string, from string) {
		t.Helper()
		view(t, s, func(r *state.Region) (err error) {
			*to, err = r.List("d/", engines.Page{After: from, Limit: 5, Unsorted: true})
			return err
		})
	}
	list(&before, "7")
	update(t, s, func(r *state.Region) error { return r.Delete("d/7") })
	if list(&after, "7"); !slices.Equal(before, after) {
		t.Errorf("behind a name that is gone come %q, and came %q", after, before)
	}
}

func TestRegionsAreApart(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	other := func(tx *state.Tx) *state.Region {
		return tx.Region(state.Key(state.Data, state.RootNamespace, []byte("0123456789abcdeg")))
	}
	put(t, s, "a", "x")
	if _, err := s.Update(t.Context(), func(tx *state.Tx) error {
		if entry, err := other(tx).Get("a"); err != nil || entry != nil {
			return fmt.Errorf("a row of another region: %v", err)
		}
		return errors.Join(other(tx).Put("a", []byte("y")), other(tx).DeletePrefix(""))
	}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "a"); got != "x" {
		t.Errorf("a holds %q after another region was emptied", got)
	}
}

func TestCacheFollowsVersions(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	cache := state.NewCache[string](64)
	decoded := 0
	read := func() (value string) {
		view(t, s, func(r *state.Region) error {
			key, err := r.Key("a")
			if err != nil {
				return err
			}
			value, err = cache.Get(r.Tx(), key, func(row *state.Row) (string, error) {
				decoded++
				return string(row.Value), nil
			})
			return err
		})
		return value
	}
	steps := []struct {
		change func()
		want   string
	}{
		{func() {}, ""},
		{func() { put(t, s, "a", "1") }, "1"},
		{func() {}, "1"},
		{func() { put(t, s, "a", "2") }, "2"},
		{func() { update(t, s, func(r *state.Region) error { return r.Delete("a") }) }, ""},
		{func() { put(t, s, "a", "3") }, "3"},
	}
	for i, step := range steps {
		step.change()
		if got := read(); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	if decoded != 3 {
		t.Errorf("decoded %d times, want once for each of 3 versions", decoded)
	}
}

func TestCacheSeesOwnWrites(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	put(t, s, "a", "1")
	cache := state.NewCache[string](64)
	decode := func(row *state.Row) (string, error) { return string(row.Value), nil }
	if _, err := s.Update(t.Context(), func(tx *state.Tx) error {
		key, err := region(tx).Key("a")
		if err != nil {
			return err
		}
		for _, want := range []string{"1", "own", ""} {
			switch want {
			case "own":
				err = tx.Put(key, []byte("own"), state.PutOptions{})
			case "":
				err = tx.Delete(key)
			}
			got, getErr := cache.Get(tx, key, decode)
			if err = errors.Join(err, getErr); err != nil || got != want {
				return fmt.Errorf("%q, want %q: %w", got, want, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
