package state_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// once is an update that may be asked for again, and says what it is told then.
func once(id []byte, tried bool, reply string) state.Once {
	return state.Once{ID: id, Tried: tried, Reply: func() ([]byte, error) { return []byte(reply), nil }}
}

// TestOnce: who asks again gets the answer of the first time, though what was
// written then would have the request refused now.
func TestOnce(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	id := state.RequestID(r)
	errThere := errors.New("it is there already")
	create := func(tx *state.Tx) error {
		if entry, err := region(tx).Get("a"); err != nil || entry != nil {
			return errors.Join(err, errThere)
		}
		return region(tx).Put("a", []byte("v"))
	}
	first, err := s.UpdateOnce(t.Context(), once(id, false, "first"), create)
	if err != nil || first.Again {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := s.UpdateOnce(t.Context(), once(id, true, "second"), create)
	if err != nil || !second.Again || string(second.Reply) != "first" || second.Index != first.Index {
		t.Errorf("asked again: %+v, %v", second, err)
	}
	// One that nobody told of the first time, and that would succeed.
	third, err := s.UpdateOnce(t.Context(), once(id, false, "third"), func(tx *state.Tx) error { return region(tx).Put("b", nil) })
	if err != nil || !third.Again || string(third.Reply) != "first" {
		t.Errorf("asked again, and not told so: %+v, %v", third, err)
	}
	if _, err := s.UpdateOnce(t.Context(), once(state.RequestID(r), true, ""), create); !errors.Is(err, errThere) {
		t.Errorf("another request: %v", err)
	}
}

// TestReplyIsOfItsRequest: nobody can move a reply to another request.
func TestReplyIsOfItsRequest(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	var reply []byte
	r.propose = func(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
		if reply == nil {
			reply = cmd.GetReply()
		} else {
			cmd.Reply = reply
		}
		return r.Node.Propose(ctx, cmd)
	}
	write := func(tx *state.Tx) error { return region(tx).Put("a", []byte("v")) }
	other := state.RequestID(r)
	for _, id := range [][]byte{state.RequestID(r), other} {
		if _, err := s.UpdateOnce(t.Context(), once(id, false, "secret"), write); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := s.UpdateOnce(t.Context(), once(other, true, ""), write); err == nil {
		t.Errorf("answered with another request's reply: %q", done.Reply)
	}
}

// TestUnknownOutcomes: a node that was deposed finds out what became of its
// command, and only then answers.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	unknown := func(applied bool) func(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
		return func(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
			if applied {
				if result, err := r.Node.Propose(ctx, cmd); err != nil {
					return result, err
				}
			}
			return fsm.Result{}, state.ErrUnknownOutcome
		}
	}
	write := func(tx *state.Tx) error { return region(tx).Put("a", []byte("v")) }
	r.propose = unknown(true)
	if done, err := s.UpdateOnce(t.Context(), once(state.RequestID(r), false, ""), write); err != nil || done.Again || done.Index == 0 {
		t.Errorf("a command that was applied: %+v, %v", done, err)
	}
	r.propose = unknown(false)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.UpdateOnce(ctx, once(state.RequestID(r), false, ""), write); !errors.Is(err, state.ErrUnknownOutcome) {
		t.Errorf("a command that may still be applied: %v", err)
	}
}

// TestHandedOnTwice: of two runs of a request, each in doubt about its command,
// both answer what the one that was committed has made.
func TestHandedOnTwice(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	id := state.RequestID(r)
	run := func(answer string) (state.Done, error) {
		return s.UpdateOnce(t.Context(), once(id, false, answer), func(tx *state.Tx) error { return region(tx).Put("a", []byte(answer)) })
	}
	r.propose = func(context.Context, *fsmpb.Command) (fsm.Result, error) {
		r.propose = nil
		if done, err := run("other"); err != nil || done.Again {
			t.Errorf("the other run: %+v, %v", done, err)
		}
		return fsm.Result{}, state.ErrUnknownOutcome
	}
	if done, err := run("mine"); err != nil || !done.Again || string(done.Reply) != "other" {
		t.Errorf("answered %q, again %v, %v: what is stored is the other's", done.Reply, done.Again, err)
	}
}

// TestAge: a view may be as old as it is asked to be, and no older.
func TestAge(t *testing.T) {
	t.Parallel()
	s, r := newStore(t)
	put(t, s, "a", "v")
	look := func(age state.Age) (linearizable bool) {
		before := r.reads
		if err := s.ViewOf(t.Context(), age, func(*state.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		return r.reads > before
	}
	if !look(state.Age{}) || look(state.Age{Any: true}) || look(state.Age{Within: time.Hour}) || !look(state.Age{Within: 1}) {
		t.Error("a view of the wrong age")
	}
	err := s.ViewOf(t.Context(), state.Age{Any: true}, func(tx *state.Tx) error { return region(tx).Put("a", nil) })
	if !errors.Is(err, state.ErrWrites) {
		t.Errorf("a write in a view: %v", err)
	}
}

// TestFollowing: a keyring is taken over before anything that needs it is read.
func TestFollowing(t *testing.T) {
	t.Parallel()
	base, r := newStore(t)
	loads := 0
	s := state.Following(base, func() error { loads++; return nil })
	boot := func() {
		if _, err := base.Update(t.Context(), func(tx *state.Tx) error { return tx.PutBoot("x", []byte("v")) }); err != nil {
			t.Fatal(err)
		}
	}
	boot()
	put(t, s, "a", "v")
	old := r.Node.Local()
	boot()
	get(t, s, "a")
	get(t, s, "a")
	if loads != 2 {
		t.Errorf("loaded %d times, want 2", loads)
	}
	r.local = func() *fsm.View { return old }
	if err := s.Local(func(*state.Tx) error { return nil }); err != nil || loads != 2 {
		t.Errorf("an older view took the keyring back: %v, %d", err, loads)
	}
}
