package state_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// model is what a region should hold.
type model map[string]string

func (m model) list(dir string) []string {
	seen := make(map[string]bool)
	for path := range m {
		rest, ok := strings.CutPrefix(path, dir)
		if !ok {
			continue
		}
		if head, _, deeper := strings.Cut(rest, "/"); deeper {
			seen[head+"/"] = true
		} else {
			seen[rest] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (m model) walk(dir string) []string {
	var out []string
	for path := range m {
		if rest, ok := strings.CutPrefix(path, dir); ok {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return out
}

func (m model) deletePrefix(dir string) {
	maps.DeleteFunc(m, func(path, _ string) bool { return strings.HasPrefix(path, dir) })
}

// agree compares all that can be read with the model.
func (m model) agree(r *state.Region, rng *rand.Rand) error {
	path, dir := somePath(rng), someDir(rng)
	entry, err := r.Get(path)
	if err != nil {
		return err
	}
	want, there := m[path]
	if there != (entry != nil) || there && string(entry.Value) != want {
		return fmt.Errorf("get %s: %v, want %q %v", path, entry, want, there)
	}
	page := engines.Page{Limit: rng.IntN(3)}
	names := m.list(dir)
	if len(names) > 0 && rng.IntN(2) == 0 {
		page.After = names[rng.IntN(len(names))]
		names = slices.DeleteFunc(names, func(name string) bool { return name <= page.After })
	}
	if page.Limit > 0 {
		names = names[:min(page.Limit, len(names))]
	}
	got, err := r.List(dir, page)
	if err != nil || !slices.Equal(got, names) {
		return fmt.Errorf("list %q %+v: %q, want %q (%w)", dir, page, got, names, err)
	}
	var walked []string
	if err := r.Walk(dir, func(path string) error { walked = append(walked, path); return nil }); err != nil {
		return err
	}
	if slices.Sort(walked); !slices.Equal(walked, m.walk(dir)) {
		return fmt.Errorf("walk %q: %q, want %q", dir, walked, m.walk(dir))
	}
	return nil
}

func somePath(rng *rand.Rand) string {
	path := string(rune('a' + rng.IntN(3)))
	for range rng.IntN(3) {
		path += "/" + string(rune('a'+rng.IntN(3)))
	}
	return path
}

func someDir(rng *rand.Rand) string {
	if rng.IntN(4) == 0 {
		return ""
	}
	return somePath(rng) + "/"
}

// change does one random thing to both.
func (m model) change(r *state.Region, rng *rand.Rand) error {
	switch path := somePath(rng); rng.IntN(8) {
	case 0:
		dir := someDir(rng)
		if dir == "" && rng.IntN(4) != 0 {
			return nil
		}
		m.deletePrefix(dir)
		return r.DeletePrefix(dir)
	case 1, 2:
		delete(m, path)
		return r.Delete(path)
	default:
		value := fmt.Sprint(rng.Uint32())
		m[path] = value
		return r.Put(path, []byte(value))
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s, _ := newStore(t)
			rng := rand.New(rand.NewPCG(seed, 1))
			committed := model{}
			for range 150 {
				committed = transact(t, s, rng, committed)
				view(t, s, func(r *state.Region) error { return committed.agree(r, rng) })
			}
		})
	}
}

// transact runs a random transaction and returns what should be there then.
func transact(t *testing.T, s *state.Store, rng *rand.Rand, committed model) model {
	t.Helper()
	var after model
	fail := rng.IntN(5) == 0
	seed := rng.Uint64()
	_, err := s.Update(t.Context(), func(tx *state.Tx) error {
		again := rand.New(rand.NewPCG(seed, 2)) // a transaction may run more than once
		after = maps.Clone(committed)
		for range again.IntN(10) {
			mark, before := tx.Mark(), maps.Clone(after)
			for range again.IntN(4) {
				if err := after.change(region(tx), again); err != nil {
					return err
				}
				if err := after.agree(region(tx), again); err != nil {
					t.Error(err)
				}
			}
			if again.IntN(4) == 0 {
				tx.Rollback(mark)
				after = before
			}
		}
		if fail {
			return errStop
		}
		return nil
	})
	if fail {
		return committed
	}
	if err != nil {
		t.Fatal(err)
	}
	return after
}
