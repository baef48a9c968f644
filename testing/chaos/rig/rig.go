package rig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/proxy"
	"github.com/coffer-secrets/coffer/testing/harness"
	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

// patience is how long a node may hold a request for want of a leader.
const patience = 4 * time.Second

// Network has what hosts send each other be late, lost, or not arrive.
type Network interface {
	Shape(from, to *netns.Host, how netns.Link)
	CutOneWay(from, to *netns.Host)
	Cut(a, b *netns.Host)
	Partition(groups ...[]*netns.Host)
	Heal()
}

// Options of a rig.
type Options struct {
	Nodes int
	// Dir is where the nodes have their folders. It must exist.
	Dir string
	// Say is told what happens.
	Say func(text string)
	// Prepare is called for the folder of each node's data before it is used.
	Prepare func(data string) error
	// Database is whether there is to be one.
	Database bool
	// Loopback has all be on loopback, also where hosts can be made.
	Loopback bool
}

// Rig is a cluster and the network between its nodes.
type Rig struct {
	Nodes []*harness.Server
	// Net is between the nodes, and the database. Hosts are those of the nodes, and
	// Outside is where clients are. Where no hosts can be made, as NoHosts says, all
	// are on loopback, Net is a proxy, and Outside is nil.
	Net     Network
	Hosts   []*netns.Host
	Outside *netns.Host
	NoHosts error
	// DB is nil where there is no database; NoDB says why.
	DB   *Database
	NoDB error
	// Peers are where the nodes reach each other.
	Peers []string

	hosts   *netns.Network // nil on loopback
	proxy   *proxy.Network // nil on hosts
	cluster *harness.Cluster
	tb      *tb

	mu sync.Mutex
	// busy are the nodes that a fault has to itself, and mayEnd those that may
	// end by themselves, until they are started again.
	busy, mayEnd map[int]bool
	pids         map[int]int
	// forgiven is how much of a node's log is not looked at for panics.
	forgiven map[int]int64
}

// Start starts a cluster with a KV v2 mount at chaos/.
func Start(ctx context.Context, o Options) (*Rig, error) {
	r := &Rig{tb: &tb{dir: o.Dir, say: o.Say}, busy: make(map[int]bool), mayEnd: make(map[int]bool), pids: make(map[int]int), forgiven: make(map[int]int64)}
	options := harness.Options{
		Prepare: o.Prepare,
		Extra:   fmt.Sprintf("default_max_request_duration = %q\n", patience),
		// Small, so that nodes that were away need a snapshot.
		Storage: "snapshot_threshold = 500\ntrailing_logs = 50\nsnapshot_interval = \"2s\"\n",
	}
	database := r.connect(ctx, o, &options)
	if o.Database {
		r.startDatabase(database)
	}
	var err error
	if options.Binary, err = harness.ChaosBinary(); err != nil {
		r.Close()
		return nil, err
	}
	err = r.tb.try(func() {
		r.cluster = harness.StartClusterOn(r.tb, r.Hosts, options)
		r.Nodes = r.cluster.Nodes
		for i := range r.Nodes {
			r.notePid(i)
		}
		r.Nodes[0].Root(http.MethodPost, "sys/mounts/chaos", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
		r.enableAudit()
	})
	if err == nil {
		err = r.findPeers(ctx)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// startDatabase starts a database on a host.
func (r *Rig) startDatabase(host *netns.Host) {
	if r.DB, r.NoDB = startDatabase(host, r.proxy); r.NoDB == nil {
		r.tb.Cleanup(func() { _ = r.DB.server.Close() })
	}
}

// Close ends all processes that the rig has started.
func (r *Rig) Close() {
	for _, n := range r.Nodes {
		_ = n.Signal(syscall.SIGCONT)
	}
	r.tb.close()
}

// Leader is the number of a node that says it leads; -1: none does.
func (r *Rig) Leader() int {
	for i := range r.Nodes {
		if !r.Up(i) {
			continue
		}
		if leads, err := r.leads(i); err == nil && leads {
			return i
		}
	}
	return -1
}

// Up reports whether a node's process is there.
func (r *Rig) Up(i int) bool { return r.Nodes[i].Signal(syscall.Signal(0)) == nil }

// Claim gives a node to a fault that must have it to itself; false: another has it.
func (r *Rig) Claim(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[i] {
		return false
	}
	r.busy[i] = true
	return true
}

// Release ends a claim.
func (r *Rig) Release(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.busy, i)
}

// MayEnd says that a node is expected to end by itself.
func (r *Rig) MayEnd(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mayEnd[i] = true
}

// Kill ends a node at once.
func (r *Rig) Kill(i int) {
	r.MayEnd(i)
	r.Nodes[i].Kill()
}

// Pause stops a node's process from running, and Resume lets it run again.
func (r *Rig) Pause(i int) error { return r.Nodes[i].Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (r *Rig) Resume(i int) error { return r.Nodes[i].Signal(syscall.SIGCONT) }

// Restart starts a node that is down, without waiting for it to be unsealed.
func (r *Rig) Restart(i int) error {
	r.mu.Lock()
	delete(r.mayEnd, i)
	r.mu.Unlock()
	err := r.tb.try(func() { r.Nodes[i].Restart() })
	r.notePid(i)
	return err
}

// Unseal unseals a node once it can be.
func (r *Rig) Unseal(i int) error {
	return r.tb.try(func() { r.cluster.Unseal(r.Nodes[i]) })
}

// TryUnseal gives a node what it takes to be unsealed, once, and reports whether
// it is.
func (r *Rig) TryUnseal(ctx context.Context, i int) bool {
	var state struct {
		Sealed      bool `json:"sealed"`
		Initialized bool `json:"initialized"`
	}
	for _, key := range r.Nodes[0].Keys {
		if r.Ask(ctx, i, http.MethodPut, "sys/unseal", map[string]string{"key": key}, &state) != nil {
			return false
		}
	}
	return state.Initialized && !state.Sealed
}

// Heal ends all faults that nobody else has ended, and starts what is down. It
// returns what was wrong with nodes that were.
func (r *Rig) Heal() error {
	var wrong []error
	r.Net.Heal()
	for i := range r.Nodes {
		if r.Up(i) {
			wrong = append(wrong, r.Resume(i))
		}
		if err := r.rightClock(i); err != nil && r.Up(i) {
			wrong = append(wrong, err)
		}
		if r.Up(i) {
			continue
		}
		r.mu.Lock()
		expected := r.mayEnd[i]
		r.mu.Unlock()
		if !expected {
			wrong = append(wrong, fmt.Errorf("rig: node %d has ended by itself: see %s", i, r.Nodes[i].LogPath()))
		}
		wrong = append(wrong, r.Restart(i))
	}
	if r.DB != nil {
		wrong = append(wrong, r.DB.heal())
	}
	return errors.Join(wrong...)
}

// UnsealAll unseals all nodes.
func (r *Rig) UnsealAll() error {
	var wrong []error
	for i := range r.Nodes {
		wrong = append(wrong, r.Unseal(i))
	}
	return errors.Join(wrong...)
}

// Equal returns how the states of nodes at one index differ, or that they do not
// come to one.
func (r *Rig) Equal() error {
	err := r.tb.try(r.cluster.Equal)
	if wrong := r.tb.took(); len(wrong) > 0 {
		err = errors.Join(err, errors.New(strings.Join(wrong, "; ")))
	}
	return err
}

// Forgive has Panics not look at what a node has logged until now.
func (r *Rig) Forgive(i int) {
	info, err := os.Stat(r.Nodes[i].LogPath())
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgiven[i] = info.Size()
}

// Panics are the nodes whose log has a panic or a data race in it.
func (r *Rig) Panics() (found []string) {
	for i, n := range r.Nodes {
		text, err := os.ReadFile(n.LogPath())
		if err != nil {
			continue
		}
		text = text[min(int64(len(text)), r.forgiven[i]):]
		for _, mark := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if strings.Contains(string(text), mark) {
				found = append(found, fmt.Sprintf("node %d logs %q: see %s", i, mark, n.LogPath()))
			}
		}
	}
	return found
}

// Find returns the files of nodes, data and logs, that hold one of some words. Names
// may stand in records of requests, secrets nowhere.
func (r *Rig) Find(secrets, names []string) (found []string) {
	for _, n := range r.Nodes {
		_ = filepath.WalkDir(n.Dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Base(path) == "coffer.hcl" {
				return nil //nolint:nilerr // what is gone meanwhile holds nothing
			}
			text, err := os.ReadFile(path) // #nosec G122 G304 -- a node's own files
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			words := secrets
			if filepath.Base(path) != auditFile {
				words = slices.Concat(secrets, names)
			}
			for _, w := range words {
				if strings.Contains(string(text), w) {
					found = append(found, path)
					break
				}
			}
			return nil
		})
	}
	return found
}
