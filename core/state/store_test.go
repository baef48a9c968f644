package state_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

func TestLostCommitRunsAgain(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	put(t, s, "a", "1")
	runs := 0
	_, err := s.Update(t.Context(), func(tx *state.Tx) error {
		entry, err := region(tx).Get("a")
		if err != nil {
			return err
		}
		if runs++; runs == 1 {
			put(t, s, "a", "2")
		}
		return region(tx).Put("b", entry.Value)
	})
	if err != nil || runs != 2 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	if got := get(t, s, "b"); got != "2" {
		t.Errorf("b holds %q, which rests on a value that had been replaced", got)
	}
}

func TestLostCreationRunsAgain(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	runs := 0
	_, err := s.Update(t.Context(), func(tx *state.Tx) error {
		entry, err := region(tx).Get("a")
		if err != nil {
			return err
		}
		if runs++; runs == 1 {
			put(t, s, "a", "other")
		}
		if entry != nil {
			return errStop
		}
		return region(tx).Put("a", []byte("mine"))
	})
	if !errors.Is(err, errStop) {
		t.Errorf("%v: two saw that the row was absent and created it", err)
	}
}

func TestUnreadRowIsNoCondition(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	put(t, s, "a", "1")
	runs := 0
	_, err := s.Update(t.Context(), func(tx *state.Tx) error {
		key, err := region(tx).Key("a")
		if err != nil {
			return err
		}
		if _, err := tx.Peek(key); err != nil {
			return err
		}
		if runs++; runs == 1 {
			put(t, s, "a", "2")
		}
		return region(tx).Put("b", nil)
	})
	if err != nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

func TestRequiredRow(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	put(t, s, "parent", "1")
	runs := 0
	_, err := s.Update(t.Context(), func(tx *state.Tx) error {
		r := region(tx)
		key, err := r.Key("parent")
		if err != nil {
			return err
		}
		tx.RequireExists(key)
		if runs++; runs > 1 {
			return errStop
		}
		put(t, s, "parent", "2") // another version is no matter
		update(t, s, func(r *state.Region) error { return r.Delete("parent") })
		return r.Put("child", nil)
	})
	if !errors.Is(err, errStop) {
		t.Errorf("%v: a child was made of a parent that is gone", err)
	}
}

// An error, or nothing to commit, is an answer that rests on reads: it counts
// only from a linearizable view.
func TestStaleStateDecidesNothing(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	put(t, s, "a", "old")
	stale := []*fsm.View{r.Node.Local(), r.Node.Local()} // each run closes its own
	put(t, s, "a", "new")
	r.local = func() *fsm.View {
		next := stale[0]
		stale = stale[1:]
		return next
	}
	fail := func(value string) error { return fmt.Errorf("found %s", value) }
	_, err := s.Update(t.Context(), func(tx *state.Tx) error {
		entry, err := region(tx).Get("a")
		if err != nil {
			return err
		}
		return fail(string(entry.Value))
	})
	if err == nil || err.Error() != "found new" {
		t.Errorf("an error rests on the past: %v", err)
	}
	seen := ""
	if _, err = s.Update(t.Context(), func(tx *state.Tx) error {
		entry, err := region(tx).Get("a")
		if entry != nil {
			seen = string(entry.Value)
		}
		return err
	}); err != nil || seen != "new" || len(stale) != 0 {
		t.Errorf("a transaction without writes saw %q, %v", seen, err)
	}
}

// What fn reads without making it a condition, as policies are, must not be of
// an older term: the leader before may have answered a change of it.
func TestStateOfAnOlderTermCommitsNothing(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	put(t, s, "a", "1")
	fences := []uint64{}
	r.propose = func(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
		fences = append(fences, cmd.GetFenceTerm())
		if len(fences) == 1 {
			cmd.FenceTerm++ // as if this node had been elected since
		}
		return r.Node.Propose(ctx, cmd)
	}
	r.reads = 0
	put(t, s, "b", "2")
	if len(fences) != 2 || fences[0] == 0 || fences[1] != fences[0] || r.reads != 1 {
		t.Errorf("fences %v, %d linearizable reads", fences, r.reads)
	}
	if got := get(t, s, "b"); got != "2" {
		t.Errorf("b holds %q", got)
	}
}

func TestCountersUnderContention(t *testing.T) {
	t.Parallel()
	const writers, each = 64, 10
	s, _ := newStore(t)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if _, err := s.Update(t.Context(), increment); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := binary.BigEndian.Uint64([]byte(get(t, s, "n"))); got != writers*each {
		t.Errorf("%d increments were acknowledged, %d counted", writers*each, got)
	}
}

func increment(tx *state.Tx) error {
	entry, err := region(tx).Get("n")
	if err != nil {
		return err
	}
	var n uint64
	if entry != nil {
		n = binary.BigEndian.Uint64(entry.Value)
	}
	return region(tx).Put("n", binary.BigEndian.AppendUint64(nil, n+1))
}

func TestEndlessConflictEnds(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	r.propose = func(context.Context, *fsmpb.Command) (fsm.Result, error) { return fsm.Result{Code: fsm.Conflict}, nil }
	_, err := s.Update(t.Context(), increment)
	wantKind(t, err, engines.KindConflict)
}

func TestErrorsOfTheReplica(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		kind engines.Kind
	}{
		{fmt.Errorf("%w: x", state.ErrNotLeader), engines.KindUnavailable},
		{fmt.Errorf("%w: x", state.ErrUnknownOutcome), engines.KindUnknownOutcome},
		{context.DeadlineExceeded, engines.KindUnavailable},
	} {
		s, r := newStore(t)
		r.propose = func(context.Context, *fsmpb.Command) (fsm.Result, error) { return fsm.Result{}, c.err }
		_, err := s.Update(t.Context(), increment)
		wantKind(t, err, c.kind)
		if !errors.Is(err, c.err) {
			t.Errorf("%v hides its cause %v", err, c.err)
		}
	}
}

func TestViewRefusesWrites(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	before := r.Status().LastIndex
	if err := s.View(t.Context(), increment); err == nil {
		t.Error("a view took a write")
	}
	if after := r.Status().LastIndex; after != before {
		t.Error("a view proposed something")
	}
}

func TestClosedNode(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	r.local = func() *fsm.View { return nil }
	_, err := s.Update(t.Context(), increment)
	wantKind(t, err, engines.KindUnavailable)
	wantKind(t, s.Local(increment), engines.KindUnavailable)
	if _, err := state.ReadBoot(r, "x"); err == nil {
		t.Error("a closed node gave a row")
	}
}

func TestBootRows(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	_, err := s.Update(t.Context(), func(tx *state.Tx) error {
		if got, err := tx.GetBoot("x"); err != nil || got != nil {
			return fmt.Errorf("%q, %w", got, err)
		}
		if err := tx.PutBoot("x", []byte("plain")); err != nil {
			return err
		}
		if got, err := tx.GetBoot("x"); err != nil || string(got) != "plain" {
			return fmt.Errorf("%q, %w", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := state.ReadBoot(r, "x"); err != nil || string(got) != "plain" {
		t.Errorf("%q, %v", got, err)
	}
}
