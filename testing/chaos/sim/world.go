package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/core"
)

const (
	electionTimeout = 100 * time.Millisecond
	sendTimeout     = 100 * time.Millisecond
	// patience bounds a client's operation, and settleWithin what must have
	// happened after all is healed.
	patience     = 3 * time.Second
	settleWithin = 10 * time.Second
)

// Bugs are mistakes that a world can be given on purpose, to see them found.
type Bugs struct {
	// LocalReads answers reads from what a node has, without asking the leader.
	LocalReads bool
	// ForgetIDs proposes what is tried again under another request id.
	ForgetIDs bool
	// NoFence lets a deposed leader go on, and carry out in a later term what it has
	// decided in its own. CreateFirst makes users before their leases are committed.
	NoFence, CreateFirst bool
	// IndexApart has the applied index survive a crash by itself, as if it were not
	// in the batch of what was applied.
	IndexApart bool
	// OwnTime has a leader that was just started go by its own clock.
	OwnTime bool
	// ForgetLog loses, in a crash, the last entries that were durable.
	ForgetLog bool
}

// world is a cluster and what is between its nodes.
type world struct {
	bugs    Bugs
	rng     *rand.Rand // of the faults
	mu      sync.Mutex
	hosts   map[string]*host
	ids     []string
	cut     map[[2]string]bool // from, to
	closing sync.WaitGroup     // nodes that have crashed
	failed  error              // what must not have happened
	// grow, if set, makes the core of a node that starts.
	grow func(id string, n *cluster.Node) (*core.Core, error)
	tick time.Duration
}

// host is a machine, whose node may be down.
type host struct {
	id      string
	disk    *vfs.MemFS
	journal *journal
	trans   *raft.InmemTransport
	node    *cluster.Node
	core    *core.Core
	clock   *clock
	// applied is how far the node had come when it crashed.
	applied uint64
}

// clock is that of a host: it can be set, and then goes on.
type clock struct {
	start time.Time
	mu    sync.Mutex
	off   time.Duration
}

func (c *clock) Monotonic() time.Duration { return time.Since(c.start) }

func (c *clock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) set(off time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = off
}

// begin founds a cluster.
func (w *world) begin(seed uint64, size int, bugs Bugs) error {
	*w = world{
		grow: w.grow, tick: w.tick, bugs: bugs, rng: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // repeatable
		hosts: make(map[string]*host), cut: make(map[[2]string]bool),
	}
	for i := range size {
		id := string(rune('a' + i))
		w.ids = append(w.ids, id)
		w.hosts[id] = &host{id: id, disk: vfs.NewCrashableMem(), journal: newJournal(), clock: &clock{start: time.Now()}}
		if err := w.start(id); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	first := w.hosts[w.ids[0]].node
	if err := first.Bootstrap(); err != nil {
		return err
	}
	if _, _, err := first.LeadContext(ctx); err != nil {
		return err
	}
	for _, id := range w.ids[1:] {
		if err := first.AddVoter(ctx, id, id); err != nil {
			return err
		}
	}
	return nil
}

// start starts the node of a host on what its disk has.
func (w *world) start(id string) error {
	h := w.hosts[id]
	if w.bugs.IndexApart {
		if err := h.setApplied(); err != nil {
			panic(err) // that would count as found
		}
	}
	_, trans := raft.NewInmemTransportWithTimeout(raft.ServerAddress(id), sendTimeout)
	config := cluster.Config{
		Dir: "node", NodeID: id, Address: id, Transport: trans, Clock: h.clock, CacheBytes: 1 << 20,
		ElectionTimeout: electionTimeout, TickInterval: w.tick, SnapshotInterval: time.Second, SnapshotThreshold: 40, TrailingLogs: 8,
		ReadIndex: func(ctx context.Context, leader string) (uint64, error) { return w.readIndex(ctx, id, leader) },
		PeerTime:  func(member string, _ time.Duration) (cluster.PeerTime, error) { return w.timeOf(id, member) },
		Fatal:     func(err error) { w.fatal(id, trans, err) },
	}
	if w.bugs.OwnTime {
		config.PeerTime = nil
	}
	n, err := cluster.OpenOn(config, h.disk, h.journal)
	if err != nil {
		return fmt.Errorf("sim: start %s: %w", id, err)
	}
	var c *core.Core
	if w.grow != nil {
		if c, err = w.grow(id, n); err != nil {
			return errors.Join(err, n.Close())
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h.trans, h.node, h.core = trans, n, c
	w.connectLocked()
	return nil
}

// fatal is told by a node that cannot go on. One that has crashed may say so.
func (w *world) fatal(id string, trans *raft.InmemTransport, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hosts[id].trans == trans {
		w.failed = errors.Join(w.failed, fmt.Errorf("sim: %s halted: %w", id, err))
	}
}

func (w *world) connectLocked() {
	for _, from := range w.hosts {
		for _, to := range w.hosts {
			switch {
			case from == to || from.trans == nil:
			case to.trans == nil || w.cut[[2]string{from.id, to.id}]:
				from.trans.Disconnect(raft.ServerAddress(to.id))
			default:
				from.trans.Connect(raft.ServerAddress(to.id), to.trans)
			}
		}
	}
}

// sever cuts one direction between two hosts.
func (w *world) sever(from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]string{from, to}] = true
	w.connectLocked()
}

func (w *world) healAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cut)
	w.connectLocked()
}

// crash stops a node at this instant. What it had written stays if power is not
// lost too; what it had synced stays anyhow.
func (w *world) crash(id string, power bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[id]
	if h.node == nil {
		return
	}
	old := *h
	h.applied = h.node.Status().Applied
	h.node, h.trans, h.core = nil, nil, nil
	w.connectLocked()
	// The log first: nothing is in the state that is not in it.
	before := h.journal
	h.journal = before.crash()
	w.spoil(h.journal)
	kept := 100
	if power {
		kept = w.rng.IntN(101)
	}
	h.disk = h.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: w.rng})
	w.closing.Go(old.close)
}

func (h *host) close() {
	if h.core != nil {
		h.core.Close()
	}
	if h.node != nil {
		_ = h.node.Close() // it may have crashed
	}
}

// spoil is the part of a crash that a world with bugs adds.
func (w *world) spoil(j *journal) {
	if w.bugs.ForgetLog {
		for range 5 {
			if j.last > j.first {
				delete(j.entries, j.last)
				j.last--
			}
		}
	}
}

// peer is the node of a host as another one reaches it; nil if it does not.
func (w *world) peer(from, to string) *cluster.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[to]
	if h == nil || w.cut[[2]string{from, to}] || w.cut[[2]string{to, from}] {
		return nil
	}
	return h.node
}

var errUnreached = errors.New("sim: nobody there")

func (w *world) readIndex(ctx context.Context, from, leader string) (uint64, error) {
	n := w.peer(from, leader)
	if n == nil {
		return 0, errUnreached
	}
	index, err := n.ReadIndex(ctx)
	if err == nil && w.peer(from, leader) != n { // the answer is lost
		return 0, errUnreached
	}
	return index, err
}

func (w *world) timeOf(from, member string) (cluster.PeerTime, error) {
	n := w.peer(from, member)
	if n == nil {
		return cluster.PeerTime{}, errUnreached
	}
	return n.Time(), nil
}

func (w *world) close() {
	w.mu.Lock()
	var up []host
	for _, h := range w.hosts {
		up = append(up, *h)
		h.core, h.node = nil, nil
	}
	w.mu.Unlock()
	for _, h := range up {
		w.closing.Go(h.close)
	}
	w.closing.Wait()
}
