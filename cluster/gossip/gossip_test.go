package gossip_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster/gossip"
	"github.com/coffer-secrets/coffer/cluster/wire"
)

const patience = 30 * time.Second

// town is some nodes with ports of their own.
type town struct {
	t         *testing.T
	authority *wire.Authority
	mu        sync.Mutex
	addresses map[string]string
	names     []string
}

func (w *town) address(node string) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.addresses[node]
	return a, ok
}

func (w *town) members() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.names...)
}

// node is one that can be stopped.
type node struct {
	*gossip.Gossip
	port *wire.Port
	mu   sync.Mutex
	meta gossip.Meta
}

func (n *node) tell(m gossip.Meta) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.meta = m
}

func (w *town) start(name string) *node {
	w.t.Helper()
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	if w.addresses[name] == "" {
		w.names = append(w.names, name)
	}
	w.addresses[name] = l.Addr().String()
	w.mu.Unlock()
	key, err := wire.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := w.authority.Issue(name, public, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := wire.NewIdentity(key, cert, w.authority.Certificate())
	if err != nil {
		w.t.Fatal(err)
	}
	n := &node{meta: gossip.Meta{APIAddr: "https://" + name, Version: "1"}}
	log := slog.New(slog.DiscardHandler)
	n.port = wire.Open(w.t.Context(), wire.Config{
		Listener: l, Logger: log, RPC: http.NotFoundHandler(), Address: w.address,
		Member: func(node string) bool { _, ok := w.address(node); return ok },
	})
	n.port.SetIdentity(id)
	n.Gossip, err = gossip.Start(w.t.Context(), gossip.Config{
		Wire: n.port, Node: name, Members: w.members, Logger: log, Interval: 50 * time.Millisecond,
		Meta: func() gossip.Meta {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.meta
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { n.stop(w.t, true) })
	return n
}

// stop ends a node, with or without a word to the others.
func (n *node) stop(t *testing.T, gently bool) {
	t.Helper()
	if !gently {
		if err := n.port.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := n.port.Close(); err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// TestNodesFindEachOther: each learns of the others, of what changes about them,
// of one that goes without a word, and of its return.
func TestNodesFindEachOther(t *testing.T) {
	t.Parallel()
	a, err := wire.NewAuthority("c", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &town{t: t, authority: a, addresses: map[string]string{}}
	names := []string{"a", "node/b", "c"}
	nodes := make(map[string]*node)
	for _, name := range names {
		nodes[name] = w.start(name)
	}
	each := func(about string, good func(gossip.Peer) bool) func() bool {
		return func() bool {
			for _, name := range names {
				if name == about {
					continue
				}
				if p, ok := nodes[name].Peer(about); !ok || !good(p) {
					return false
				}
			}
			return true
		}
	}
	for _, name := range names {
		eventually(t, "all to know "+name, each(name, func(p gossip.Peer) bool { return p.Alive && p.APIAddr == "https://"+name }))
	}
	nodes["a"].tell(gossip.Meta{APIAddr: "https://a", Version: "2", Sealed: true})
	eventually(t, "news of a", each("a", func(p gossip.Peer) bool { return p.Version == "2" && p.Sealed }))

	nodes["c"].stop(t, false)
	names = names[:2]
	eventually(t, "the loss of c", each("c", func(p gossip.Peer) bool { return !p.Alive }))
	nodes["c"] = w.start("c")
	names = append(names, "c")
	eventually(t, "the return of c", each("c", func(p gossip.Peer) bool { return p.Alive }))
}
