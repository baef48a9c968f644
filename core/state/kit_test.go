package state_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
	"github.com/coffer-secrets/coffer/seal"
)

// replica is a cluster of one node, of which a test can change each part.
type replica struct {
	*cluster.Node
	local   func() *fsm.View
	propose func(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error)
	reads   int
}

func (r *replica) Local() *fsm.View {
	if r.local != nil {
		return r.local()
	}
	return r.Node.Local()
}

func (r *replica) Read(ctx context.Context) (*fsm.View, error) {
	r.reads++
	return r.Node.Read(ctx)
}

func (r *replica) Propose(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
	if r.propose != nil {
		return r.propose(ctx, cmd)
	}
	return r.Node.Propose(ctx, cmd)
}

func openNode(t testing.TB) *cluster.Node {
	t.Helper()
	node, err := cluster.Open(cluster.Config{
		Dir: t.TempDir(), NodeID: "node", ElectionTimeout: 50 * time.Millisecond, TickInterval: -1, CacheBytes: 1 << 20,
		Fatal: func(err error) { t.Errorf("the node halted: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := node.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := node.LeadContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return node
}

func newStore(t testing.TB) (*state.Store, *replica) {
	t.Helper()
	keyring, err := seal.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	barrier, err := seal.NewBarrier(keyring)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(barrier.Close)
	r := &replica{Node: openNode(t)}
	return state.New(r, barrier), r
}

// region is where the tests keep their rows.
func region(tx *state.Tx) *state.Region {
	return tx.Region(state.Key(state.Data, state.RootNamespace, []byte("0123456789abcdef")))
}

func update(t testing.TB, s *state.Store, fn func(r *state.Region) error) {
	t.Helper()
	if _, err := s.Update(t.Context(), func(tx *state.Tx) error { return fn(region(tx)) }); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *state.Store, fn func(r *state.Region) error) {
	t.Helper()
	if err := s.View(t.Context(), func(tx *state.Tx) error { return fn(region(tx)) }); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s *state.Store, path, value string) {
	t.Helper()
	update(t, s, func(r *state.Region) error { return r.Put(path, []byte(value)) })
}

func get(t testing.TB, s *state.Store, path string) string {
	t.Helper()
	var value string
	view(t, s, func(r *state.Region) error {
		entry, err := r.Get(path)
		if entry != nil {
			value = string(entry.Value)
		}
		return err
	})
	return value
}

func wantKind(t testing.TB, err error, kind engines.Kind) {
	t.Helper()
	if err == nil || engines.KindOf(err) != kind {
		t.Errorf("error %v of kind %d, want kind %d", err, engines.KindOf(err), kind)
	}
}

var errStop = errors.New("stop")
