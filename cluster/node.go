package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/fsm"
)

// Errors of a node. Which of them an operation returned says what became of a
// command: only with ErrUnknown it may have been applied.
var (
	// ErrNotLeader: this node does not lead; nothing was done.
	ErrNotLeader = errors.New("cluster: this node is not the leader")
	// ErrUnknown: the outcome is not known; the command may have been, or may
	// still be, applied.
	ErrUnknown = errors.New("cluster: the outcome is not known")
	// ErrNotProposed: the command did not reach the log; nothing was done.
	ErrNotProposed = errors.New("cluster: the command was not proposed")
	// ErrClosed: the node is closed, or halted.
	ErrClosed = errors.New("cluster: the node is closed")
	// ErrBootstrapped: the node is part of a cluster already.
	ErrBootstrapped = errors.New("cluster: the node is part of a cluster already")
	// ErrStalled is wrapped by the fatal error for a disk that hangs.
	ErrStalled = errors.New("cluster: the disk does not keep up")
	// ErrLogLost is wrapped by the error of Open for a log that ends before what
	// the store has applied: entries that were acknowledged are gone from it.
	ErrLogLost = errors.New("cluster: the Raft log has lost entries")
	// ErrTooNew: a member runs a release that does not know the command.
	ErrTooNew = errors.New("cluster: not every member knows this command yet")
	// ErrRestoring: another snapshot is being restored.
	ErrRestoring = errors.New("cluster: a snapshot is being restored already")
)

// Node is one member of a cluster.
type Node struct {
	config    Config
	raft      *raft.Raft
	transport *transport
	stores    *stores
	snapshots *SnapshotStore
	store     *fsm.Store
	format    format
	clock     *clusterClock
	started   uint64 // last index of the log when the process started
	rounds    rounds // of confirmations as the leader
	asks      rounds // of questions to the leader

	closing  chan struct{}
	inflight inflight
	running  atomic.Bool // from here on a failure halts; before, Open returns it
	halts    sync.Once
	halted   chan struct{}
	failure  error // why, set before halted is closed
	close    func() error

	leading leading

	restoring sync.Mutex // held while a snapshot of an operator's replaces the state
}

// Open opens the node in a folder and starts it. A folder in use by another
// process gives ErrLocked.
func Open(config Config) (*Node, error) {
	return open(config, parts{fs: fsm.PrivateFS(), stores: openStores})
}

// parts are what a node keeps its files in.
type parts struct {
	fs     vfs.FS // of the state and the snapshots
	stores func(c *Config, halt func(error)) (*stores, error)
	format format // that of this release if it is not set
}

func open(config Config, p parts) (*Node, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	n := &Node{config: config, format: p.format, closing: make(chan struct{}), halted: make(chan struct{})}
	if n.format.needs == nil {
		n.format = ownFormat()
	}
	n.close = sync.OnceValue(n.shutdown)
	n.leading.changed = make(chan struct{})
	if err := n.open(p); err != nil {
		return nil, errors.Join(err, n.closeFiles())
	}
	return n, nil
}

func (n *Node) open(p parts) (err error) {
	defer func() {
		if r := recover(); r != nil {
			halted, ok := r.(*fsm.Halted)
			if !ok {
				panic(r)
			}
			err = halted
		}
	}()
	c := &n.config
	if err := fsm.MakeDir(p.fs, c.Dir); err != nil {
		return err
	}
	// What a restore has left behind that was cut off.
	if err := p.fs.Remove(p.fs.PathJoin(c.Dir, restoreFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if c.Transport == nil {
		_, c.Transport = raft.NewInmemTransport(raft.ServerAddress(c.Address))
	}
	if n.transport, err = newTransport(c.Transport, c.Clock); err != nil {
		return err
	}
	// The lock on this file keeps other processes out of all the others.
	if n.stores, err = p.stores(c, n.halt); err != nil {
		return err
	}
	n.snapshots, err = OpenSnapshots(p.fs, filepath.Join(c.Dir, SnapshotDir), c.ClusterID, c.Logger)
	if err != nil {
		return err
	}
	n.store, err = fsm.Open(fsm.Options{
		Dir: filepath.Join(c.Dir, StateDir), FS: p.fs, Logger: c.Logger, CacheBytes: c.CacheBytes, Fatal: n.halt,
	})
	if err != nil {
		return err
	}
	if err := n.reconcile(); err != nil {
		return err
	}
	return n.start()
}

// reconcile brings the store to the newest snapshot if it is behind it, and
// refuses a log that does not go on where the store stands.
func (n *Node) reconcile() error {
	meta, ok, err := n.snapshots.newest()
	if err != nil {
		return err
	}
	if ok && n.store.AppliedIndex() < meta.Index {
		n.config.Logger.Info("restoring the state from a snapshot", "id", meta.Raft.ID, "index", meta.Index)
		_, r, err := n.snapshots.Open(meta.Raft.ID)
		if err != nil {
			return err
		}
		if err := errors.Join(n.store.Restore(r), r.Close()); err != nil {
			return err
		}
	}
	if n.started, err = n.stores.log.LastIndex(); err != nil {
		return err
	}
	if applied := n.store.AppliedIndex(); applied > max(n.started, meta.Index) {
		return fmt.Errorf("%w: it ends at %d, the store stands at %d", ErrLogLost, n.started, applied)
	}
	if n.started == 0 && !ok {
		return n.unfound()
	}
	return n.stores.log.verify(meta.Raft.Index)
}

// unfound takes back a foundation of the cluster that was cut off. The library
// stores the term, then the configuration; between them a node counts as
// founded, and belongs to nothing for ever. That is what term 1 without a log
// means: the first leader that anybody hears of has a later term.
func (n *Node) unfound() error {
	founded, err := n.Bootstrapped()
	if err != nil || !founded {
		return err
	}
	term, err := n.stores.stable.GetUint64(termKey)
	if err != nil || term != 1 {
		return err
	}
	return n.stores.stable.SetUint64(termKey, 0)
}

// termKey is where the library keeps the term.
var termKey = []byte("CurrentTerm")

// start starts Raft and what watches it.
func (n *Node) start() error {
	n.clock = newClusterClock(n.config.Clock, n.store.Time())
	n.clock.trusted = n.config.PeerTime == nil
	machine := &stateMachine{store: n.store, after: n.applied, before: func() func() {
		return n.stores.log.watch("apply a batch")
	}}
	if err := n.recoverQuorum(machine); err != nil {
		return err
	}
	r, err := raft.NewRaft(n.config.raftConfig(), machine, n.stores.log, n.stores.stable, n.snapshots, n.transport)
	if err != nil {
		return fmt.Errorf("cluster: start raft: %w", err)
	}
	n.raft = r
	n.running.Store(true)
	n.leading.start(n)
	return nil
}

// applied tells the clock what the state machine has come to.
func (n *Node) applied(last *raft.Log) {
	if last.Index <= n.started {
		n.clock.replayed(n.store.Time())
		return
	}
	n.clock.applied(n.store.Time(), last.Term == n.leading.term.Load())
}

// halt stops this node for good, since it cannot be right any more: nothing
// more is sent, proposed or read. It ends the calling goroutine.
func (n *Node) halt(err error) {
	if !n.running.Load() {
		return // Open is still under way, and will return an error
	}
	n.halts.Do(func() {
		n.failure = err
		n.transport.halted.Store(true)
		close(n.halted)
		n.config.Logger.Error("the node halts", "error", err)
		if n.config.Fatal != nil {
			go n.config.Fatal(err)
		}
	})
	runtime.Goexit()
}

// err is why the node takes no more work; nil while it does.
func (n *Node) err() error {
	select {
	case <-n.halted:
		return fmt.Errorf("%w: %w", ErrClosed, n.failure)
	case <-n.closing:
		return ErrClosed
	default:
		return nil
	}
}

// Close stops the node. Commands that were proposed are given some time to end.
func (n *Node) Close() error { return n.close() }

func (n *Node) shutdown() error {
	n.inflight.close()
	timer := time.NewTimer(2 * n.config.ElectionTimeout)
	defer timer.Stop()
	select {
	case <-n.inflight.idle:
	case <-timer.C:
	case <-n.halted:
	}
	close(n.closing)
	<-n.leading.done
	closed := make(chan error, 1)
	go func() { closed <- errors.Join(n.raft.Shutdown().Error(), n.closeFiles()) }()
	select {
	case err := <-closed:
		return err
	case <-n.halted:
	}
	// What hangs may hang for ever.
	timer.Reset(n.config.StallTimeout)
	select {
	case err := <-closed:
		return errors.Join(n.err(), err)
	case <-timer.C:
		return n.err()
	}
}

func (n *Node) closeFiles() error {
	var errs []error
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.stores != nil {
		errs = append(errs, n.stores.close())
	}
	return errors.Join(errs...)
}

// Bootstrapped reports whether the node is part of a cluster.
func (n *Node) Bootstrapped() (bool, error) {
	return raft.HasExistingState(n.stores.log, n.stores.stable, n.snapshots)
}

// Bootstrap makes the node the only voter of a new cluster. It is done once in
// the life of a cluster, on one node.
func (n *Node) Bootstrap() error {
	if err := n.err(); err != nil {
		return err
	}
	err := n.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(n.config.NodeID), Address: n.transport.LocalAddr(),
	}}}).Error()
	if errors.Is(err, raft.ErrCantBootstrap) {
		return ErrBootstrapped
	}
	return err
}

// Local is the state that this node has, however old. The caller closes it.
func (n *Node) Local() *fsm.View { return n.store.View() }

// Now is cluster time: it advances with the monotonic clock from the last
// stamp that was applied.
func (n *Node) Now() time.Time { return time.Unix(0, n.clock.now()) }

// Status is what a node knows of itself and of its cluster.
type Status struct {
	// Leader says that this node leads; Ready that it has also applied every
	// entry of the terms before.
	Leader, Ready bool
	Term          uint64
	// LeaderID and LeaderAddr are empty while no leader is known.
	LeaderID, LeaderAddr string
	// Applied is the index of the state, Commit that up to which entries are
	// known to be committed, LastIndex that of the last entry in the log.
	Applied, Commit, LastIndex uint64
	// Time is cluster time at the last applied entry.
	Time time.Time
}

// Status describes the node at this moment.
func (n *Node) Status() Status {
	addr, id := n.raft.LeaderWithID()
	term := n.raft.CurrentTerm()
	return Status{
		Leader: n.raft.State() == raft.Leader, Ready: n.leading.current() != nil, Term: term,
		LeaderID: string(id), LeaderAddr: string(addr),
		Applied: n.store.AppliedIndex(), Commit: n.raft.CommitIndex(), LastIndex: n.raft.LastIndex(),
		Time: time.Unix(0, n.store.Time()),
	}
}

// WriteSnapshot writes the state that this node has as a snapshot.
func (n *Node) WriteSnapshot(ctx context.Context, w io.Writer) error {
	v := n.store.View()
	if v == nil {
		return ErrClosed
	}
	defer v.Close()
	return v.WriteSnapshot(ctx, w, n.config.ClusterID)
}

// ForceSnapshot takes a snapshot now, after which the log can be cut.
func (n *Node) ForceSnapshot(ctx context.Context) error {
	if err := n.err(); err != nil {
		return err
	}
	if err := n.await(ctx, n.raft.Snapshot()); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("cluster: take a snapshot: %w", err)
	}
	return nil
}

// WaitApplied returns when the state of this node has reached an index, or
// with the error of ctx.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	return n.store.WaitApplied(ctx, index)
}
