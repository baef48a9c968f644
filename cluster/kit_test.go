package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// patience bounds what must happen, but nobody knows when.
const patience = 30 * time.Second

// logStores runs a test for every log store.
func logStores(t *testing.T, test func(t *testing.T, logStore string)) {
	for _, logStore := range []string{cluster.LogStoreBolt, cluster.LogStoreWAL} {
		t.Run(logStore, func(t *testing.T) {
			t.Parallel()
			test(t, logStore)
		})
	}
}

// config is for a node that elects itself soon and does nothing by itself.
func config(dir, logStore string) cluster.Config {
	return cluster.Config{
		Dir: dir, NodeID: "a", LogStore: logStore,
		ElectionTimeout: 50 * time.Millisecond, TickInterval: -1, SnapshotInterval: time.Hour, CacheBytes: 1 << 20,
	}
}

func open(t testing.TB, c cluster.Config) *cluster.Node {
	t.Helper()
	n, err := cluster.OpenWithSegments(c, 1<<20) // less to copy
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// start opens the node of a folder, founds a cluster if there is none, and
// waits until it leads.
func start(t testing.TB, c cluster.Config) *cluster.Node {
	t.Helper()
	n := open(t, c)
	bootstrapped, err := n.Bootstrapped()
	if err != nil {
		t.Fatal(err)
	}
	if !bootstrapped {
		if err := n.Bootstrap(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := n.LeadContext(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return n
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func put(key, value string) *fsmpb.Command {
	return &fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte(key), Value: []byte(value)}}}
}

func propose(t testing.TB, n *cluster.Node, cmd *fsmpb.Command) fsm.Result {
	t.Helper()
	r, err := n.Propose(within(t, patience), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func closeNode(t testing.TB, n *cluster.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, n *cluster.Node) *fsm.View {
	t.Helper()
	v, err := n.Read(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// value reads a row of a view; "" if there is none.
func value(t testing.TB, v *fsm.View, key string) string {
	t.Helper()
	row, _, err := v.Get([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return string(row.Value)
}

func checksum(t testing.TB, v *fsm.View) [32]byte {
	t.Helper()
	sum, err := v.Checksum()
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// network is a cluster of nodes in one process.
type network struct {
	t     *testing.T
	dir   string
	edit  func(*cluster.Config)
	open  func(cluster.Config) (*cluster.Node, error) // nil: as any node
	mu    sync.Mutex
	trans map[string]*raft.InmemTransport
	cut   map[string]bool
	nodes map[string]*cluster.Node
	fatal map[string]chan error
}

// newNetwork starts nodes named a, b, c ...; the first founds the cluster.
func newNetwork(t *testing.T, size int, edit func(*cluster.Config)) *network {
	t.Helper()
	return newNetworkOf(t, size, edit, nil)
}

// newNetworkOf is newNetwork with nodes that are opened in another way.
func newNetworkOf(t *testing.T, size int, edit func(*cluster.Config), open func(cluster.Config) (*cluster.Node, error)) *network {
	t.Helper()
	w := &network{
		t: t, dir: t.TempDir(), edit: edit, open: open, trans: make(map[string]*raft.InmemTransport), cut: make(map[string]bool),
		nodes: make(map[string]*cluster.Node), fatal: make(map[string]chan error),
	}
	ids := make([]string, size)
	for i := range ids {
		ids[i] = string(rune('a' + i))
		w.start(ids[i])
	}
	if err := w.nodes["a"].Bootstrap(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids[1:] {
		w.onLeader(func(n *cluster.Node) error { return n.AddVoter(within(t, patience), id, id) })
	}
	t.Cleanup(w.same)
	return w
}

// same is what must hold at the end of every test: nodes that stand at one index
// have one state. Those that are closed by then are left out.
func (w *network) same() {
	if w.t.Failed() {
		return
	}
	sums := make(map[uint64][32]byte)
	for id, n := range w.nodes {
		v := n.Local()
		if v == nil {
			continue
		}
		index, sum := v.Index(), checksum(w.t, v)
		v.Close()
		if other, ok := sums[index]; ok && other != sum {
			w.t.Errorf("%s differs from another node at %d", id, index)
		}
		sums[index] = sum
	}
}

// start starts a node in its folder, which may have been used before.
func (w *network) start(id string) *cluster.Node {
	w.t.Helper()
	_, trans := raft.NewInmemTransportWithTimeout(raft.ServerAddress(id), 200*time.Millisecond)
	fatal := make(chan error, 1)
	c := config(filepath.Join(w.dir, id), "")
	c.NodeID, c.Address, c.Transport = id, id, trans
	c.ElectionTimeout = 150 * time.Millisecond
	c.Fatal = func(err error) { fatal <- err }
	if w.edit != nil {
		w.edit(&c)
	}
	var n *cluster.Node
	if w.open == nil {
		n = open(w.t, c)
	} else {
		var err error
		if n, err = w.open(c); err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = n.Close() })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trans[id], w.nodes[id], w.fatal[id] = trans, n, fatal
	w.connectLocked()
	return n
}

// isolate cuts a node off from the others, or heals that.
func (w *network) isolate(id string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[id] = cut
	w.connectLocked()
}

func (w *network) connectLocked() {
	for from, a := range w.trans {
		for to, b := range w.trans {
			if from == to {
				continue
			}
			if w.cut[from] || w.cut[to] {
				a.Disconnect(b.LocalAddr())
			} else {
				a.Connect(b.LocalAddr(), b)
			}
		}
	}
}

// leader waits until one of the nodes that are not cut off leads.
func (w *network) leader() *cluster.Node {
	w.t.Helper()
	type won struct{ n *cluster.Node }
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	found := make(chan won, len(w.nodes))
	w.mu.Lock()
	for id, n := range w.nodes {
		if !w.cut[id] {
			go func() {
				if _, _, err := n.LeadContext(ctx); err == nil {
					found <- won{n}
				}
			}()
		}
	}
	w.mu.Unlock()
	select {
	case x := <-found:
		return x.n
	case <-ctx.Done():
		w.t.Fatal("nobody leads")
		return nil
	}
}

// onLeader does something on the leader, again if that is not it any more.
func (w *network) onLeader(do func(n *cluster.Node) error) {
	w.t.Helper()
	for range 100 {
		err := do(w.leader())
		if err == nil {
			return
		}
		if !errors.Is(err, cluster.ErrNotLeader) && !errors.Is(err, cluster.ErrUnknown) {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("leadership does not settle")
}

// propose proposes on the leader, with a request id so that it may be repeated.
func (w *network) propose(cmd *fsmpb.Command) (result fsm.Result) {
	w.t.Helper()
	w.onLeader(func(n *cluster.Node) (err error) {
		result, err = n.Propose(within(w.t, patience), cmd)
		return err
	})
	return result
}

// settled waits until all nodes have applied the same index, and compares them.
// A new leader may write something meanwhile, and then it begins again.
func (w *network) settled() {
	w.t.Helper()
	for range 100 {
		if w.compare() {
			return
		}
	}
	w.t.Fatal("the nodes do not come to one index")
}

// compare returns false if the nodes did not stand at one index.
func (w *network) compare() bool {
	w.t.Helper()
	var index uint64
	w.onLeader(func(n *cluster.Node) error {
		r, err := n.Propose(within(w.t, patience), &fsmpb.Command{})
		index = r.Index
		return err
	})
	sums := make(map[[32]byte][]string)
	for id, n := range w.nodes {
		v := w.at(n, index)
		at, sum := v.Index(), checksum(w.t, v)
		v.Close()
		if at != index {
			return false
		}
		sums[sum] = append(sums[sum], id)
	}
	if len(sums) != 1 {
		w.t.Fatalf("the nodes differ at %d: %v", index, sums)
	}
	return true
}

// at returns the local state of a node once it has applied an index.
func (w *network) at(n *cluster.Node, index uint64) *fsm.View {
	w.t.Helper()
	if err := n.WaitApplied(within(w.t, patience), index); err != nil {
		w.t.Fatalf("%v: %+v", err, n.Status())
	}
	return n.Local()
}

// stop closes a node.
func (w *network) stop(id string) {
	w.t.Helper()
	closeNode(w.t, w.nodes[id])
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.nodes, id)
	delete(w.trans, id)
	for _, other := range w.trans {
		other.Disconnect(raft.ServerAddress(id))
	}
}

func (w *network) idOf(n *cluster.Node) string {
	for id, other := range w.nodes {
		if n == other {
			return id
		}
	}
	w.t.Fatal("unknown node")
	return ""
}

func key(i int) string { return fmt.Sprintf("k/%06d", i) }
