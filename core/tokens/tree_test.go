package tokens_test

import (
	"crypto/rand"
	"strconv"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/seal"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// forest is tokens on a store of their own, so that thousands of them are made
// in a few transactions.
type forest struct {
	t      *testing.T
	store  *state.Store
	tokens *tokens.Tokens
}

func newForest(t *testing.T) *forest {
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
	idKey := keyring.Derive("test", 32)
	return &forest{
		t: t, store: state.New(s.Node, barrier),
		tokens: tokens.New(barrier, idKey, tokens.Deps{Cubbyhole: func(*state.Tx, string) error { return nil }}),
	}
}

func (f *forest) update(fn func(tx *state.Tx) error) {
	f.t.Helper()
	if _, err := f.store.Update(f.t.Context(), fn); err != nil {
		f.t.Fatal(err)
	}
}

// plant makes n children of a token, or orphans, named by a prefix. parent is
// an id.
func (f *forest) plant(parent, prefix string, n int, ttl time.Duration) {
	f.t.Helper()
	for from := 0; from < n; from += 2000 {
		f.update(func(tx *state.Tx) error {
			for i := from; i < min(n, from+2000); i++ {
				child := &tokens.Token{Type: tokens.Service, Times: tokens.Times{Created: tx.Now()}}
				if ttl != 0 {
					child.Expiry = tx.Now().Add(ttl)
				}
				if parent != "" {
					p, err := f.tokens.Find(tx, parent)
					if err != nil {
						return err
					}
					if child.Parent, err = p.RawKey(); err != nil {
						return err
					}
				}
				if _, err := f.tokens.IssueAs(tx, child, prefix+strconv.Itoa(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (f *forest) find(id string) (t *tokens.Token, err error) {
	f.t.Helper()
	viewErr := f.store.View(f.t.Context(), func(tx *state.Tx) error {
		t, err = f.tokens.Find(tx, id)
		return nil
	})
	if viewErr != nil {
		f.t.Fatal(viewErr)
	}
	return t, err
}

func (f *forest) revoke(id string, revoke func(tx *state.Tx, t *tokens.Token) error) {
	f.t.Helper()
	f.update(func(tx *state.Tx) error {
		t, err := f.tokens.Find(tx, id)
		if err != nil {
			return err
		}
		return revoke(tx, t)
	})
}

// reap does all that is left and returns how many transactions that took.
func (f *forest) reap() int {
	f.t.Helper()
	for n := 0; ; n++ {
		more := false
		f.update(func(tx *state.Tx) (err error) {
			if more, err = f.tokens.Left(tx); err != nil || !more {
				return err
			}
			return f.tokens.Reap(tx)
		})
		if !more {
			return n
		}
	}
}

// left counts the rows of tokens.
func (f *forest) left() int {
	f.t.Helper()
	n := 0
	err := f.store.View(f.t.Context(), func(tx *state.Tx) error {
		for _, table := range []state.Table{state.Tokens, state.Accessors, state.Reap} {
			if err := tx.ScanKeys([]byte{byte(table)}, func([]byte) ([]byte, error) { n++; return nil, nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// A wide tree, each of whose branches is more than one transaction can remove.
func TestBigTreesDieAtOnceAndAreReaped(t *testing.T) {
	t.Parallel()
	f := newForest(t)
	f.plant("", "root", 1, 0)
	f.plant("root0", "branch", 6, 0)
	for i := range 6 {
		f.plant("branch"+strconv.Itoa(i), "leaf"+strconv.Itoa(i)+"-", 2100, 0)
	}
	if _, err := f.find("leaf5-2099"); err != nil {
		t.Fatal(err)
	}
	f.revoke("root0", f.tokens.Revoke)
	for _, id := range []string{"root0", "branch3", "leaf0-0", "leaf5-2099"} {
		if _, err := f.find(id); err == nil {
			t.Errorf("%s is alive", id)
		}
	}
	if f.reap() == 0 {
		t.Error("one transaction removed it all")
	}
	if n := f.left(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestOrphaningMoreThanFitsATransaction(t *testing.T) {
	t.Parallel()
	const kids = 9000
	f := newForest(t)
	f.plant("", "parent", 1, time.Hour)
	f.plant("parent0", "kid", kids, 0)
	f.plant("kid8999", "grandkid", 1, 0)
	parent, err := f.find("parent0")
	if err != nil {
		t.Fatal(err)
	}
	batch := ""
	f.update(func(tx *state.Tx) (err error) {
		key, _ := parent.RawKey()
		batch, err = f.tokens.Issue(tx, &tokens.Token{Type: tokens.Batch, Parent: key})
		return err
	})
	if _, err := f.find(batch); err != nil {
		t.Fatal(err)
	}
	f.revoke("parent0", f.tokens.RevokeOrphan)
	check := func() {
		t.Helper()
		if _, err := f.find("parent0"); err == nil {
			t.Error("the parent is alive")
		}
		if _, err := f.find(batch); err == nil {
			t.Error("a batch token outlived its parent")
		}
		for _, id := range []string{"kid0", "kid4500", "kid8999", "grandkid0"} {
			if _, err := f.find(id); err != nil {
				t.Errorf("%s died with its parent: %v", id, err)
			}
		}
	}
	check()
	if f.reap() == 0 {
		t.Error("one transaction did it all")
	}
	check()
	if n := f.left(); n != 2*(kids+1) {
		t.Errorf("%d rows, want %d", n, 2*(kids+1))
	}
	if kid, err := f.find("kid8999"); err != nil || !kid.Orphan() {
		t.Errorf("not an orphan: %v", err)
	}
}

// Many parents that end together, each with many children.
func TestManyEndTogether(t *testing.T) {
	t.Parallel()
	f := newForest(t)
	f.plant("", "parent", 30, time.Nanosecond)
	f.plant("", "other", 1, 0)
	// Children of tokens that have ended cannot be made the usual way.
	for i := range 30 {
		f.update(func(tx *state.Tx) error {
			parent := &tokens.Token{Type: tokens.Service, Times: tokens.Times{Expiry: tx.Now()}}
			if _, err := f.tokens.IssueAs(tx, parent, "late"+strconv.Itoa(i)); err != nil {
				return err
			}
			key, err := parent.RawKey()
			if err != nil {
				return err
			}
			for j := range 400 {
				kid := &tokens.Token{Type: tokens.Service, Parent: key}
				if _, err := f.tokens.IssueAs(tx, kid, "late"+strconv.Itoa(i)+"-"+strconv.Itoa(j)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	f.update(func(tx *state.Tx) error {
		var due [][]byte
		err := tx.Expiring(tx.Now(), 100, func(_ time.Time, key []byte) bool { due = append(due, key); return true })
		if err != nil || len(due) != 60 {
			t.Errorf("%d due, %v", len(due), err)
		}
		for _, key := range due {
			if err := f.tokens.RevokeExpired(tx, key); err != nil {
				return err
			}
		}
		return nil
	})
	f.reap()
	if n := f.left(); n != 2 {
		t.Errorf("%d rows are left, want those of one token", n)
	}
}
