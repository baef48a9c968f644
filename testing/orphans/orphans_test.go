package orphans_test

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
	"github.com/coffer-secrets/coffer/testing/targets"
)

var (
	seed  = flag.Uint64("seed", 0, "what decides when leaders are killed; 0: something new")
	kills = flag.Int("kills", 3, "how often to kill the leader")
)

// field is a cluster with databases, under load.
type field struct {
	*harness.Cluster
	t *testing.T
	// targets are by the name of their connection and role.
	targets map[string]*targets.Target
	// paused is the node that has been stopped, and is not to be asked.
	paused atomic.Pointer[harness.Server]
	random *rand.Rand
	made   atomic.Int64
}

func newField(t *testing.T) *field {
	t.Helper()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	f := &field{t: t, targets: make(map[string]*targets.Target), random: rand.New(rand.NewPCG(*seed, 0))}
	for kind, start := range targets.Kinds() {
		f.targets["app-"+strings.ToLower(kind)] = targets.Start(t, start)
	}
	f.Cluster = harness.StartCluster(t, 3, harness.Options{})
	first := f.Nodes[0]
	first.Root(http.MethodPost, "sys/mounts/database", map[string]any{"type": "database"})
	for name, at := range f.targets {
		first.Root(http.MethodPost, "database/config/"+name, at.Connection())
		first.Root(http.MethodPost, "database/roles/"+name, map[string]any{"db_name": name, "creation_statements": at.Creation, "default_ttl": "1h", "max_ttl": "4h"})
		at.Owner(t, "kept")
		first.Root(http.MethodPost, "database/static-roles/"+name, map[string]any{"db_name": name, "username": "kept", "rotation_period": "1h"})
	}
	return f
}

// ask asks a node as root.
func (f *field) ask(n *harness.Server, method, path string, body any) (status int, answer []byte) {
	return n.Do(method, path, n.RootToken, body)
}

// load has clients make, renew and revoke users at any node that runs, until it
// is stopped.
func (f *field) load(stop *atomic.Bool) *sync.WaitGroup {
	clients := new(sync.WaitGroup)
	for name := range f.targets {
		for i := range 2 {
			clients.Go(func() {
				for n := i; !stop.Load(); n++ {
					f.one(name, n)
				}
			})
		}
		clients.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if at := f.Nodes[n%len(f.Nodes)]; at != f.paused.Load() {
					f.ask(at, http.MethodPut, "database/rotate-role/"+name, nil)
				}
			}
		})
	}
	return clients
}

func (f *field) one(name string, n int) {
	at := f.Nodes[n%len(f.Nodes)]
	if at == f.paused.Load() {
		return
	}
	status, answer := f.ask(at, http.MethodGet, "database/creds/"+name, nil)
	var out struct {
		ID string `json:"lease_id"`
	}
	if status != http.StatusOK || json.Unmarshal(answer, &out) != nil {
		return
	}
	f.made.Add(1)
	switch n % 3 {
	case 0:
		f.ask(at, http.MethodPut, "sys/leases/revoke", map[string]any{"lease_id": out.ID, "sync": n%2 == 0})
	case 1:
		f.ask(at, http.MethodPut, "sys/leases/renew", map[string]any{"lease_id": out.ID, "increment": "2h"})
	}
}

// running is the leader among the nodes that run.
func (f *field) running() *harness.Server {
	f.t.Helper()
	var leader *harness.Server
	f.Await("a leader that runs", func() bool {
		for _, n := range f.Nodes {
			if n == f.paused.Load() {
				continue
			}
			status, answer := n.Do(http.MethodGet, "sys/leader", "", nil)
			var out struct {
				Self bool `json:"is_self"`
			}
			if status == http.StatusOK && json.Unmarshal(answer, &out) == nil && out.Self {
				leader = n
				return true
			}
		}
		return false
	})
	return leader
}

// whenever waits for a random time.
func (f *field) whenever() { <-time.After(time.Duration(100+f.random.IntN(900)) * time.Millisecond) }

// leased lists the users of live leases, if the leader says.
func (f *field) leased(name string) ([]string, bool) {
	leader := f.running()
	status, answer := f.ask(leader, "LIST", "sys/leases/lookup/database/creds/"+name, nil)
	var list struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	if status == http.StatusNotFound {
		return nil, true
	}
	if status != http.StatusOK || json.Unmarshal(answer, &list) != nil {
		return nil, false
	}
	var names []string
	for _, id := range list.Data.Keys {
		status, answer := f.ask(leader, http.MethodPut, "sys/leases/lookup", map[string]any{"lease_id": "database/creds/" + name + "/" + id})
		var lease struct {
			Data struct {
				Created struct {
					Username string `json:"username"`
				} `json:"created"`
			} `json:"data"`
		}
		if status != http.StatusOK || json.Unmarshal(answer, &lease) != nil {
			return nil, false // it has ended meanwhile
		}
		names = append(names, lease.Data.Created.Username)
	}
	slices.Sort(names)
	return names, true
}

// matches waits until the users of each database are those of live leases.
func (f *field) matches(when string) {
	f.t.Helper()
	for name, at := range f.targets {
		f.Await("the users of "+name+" to be those of live leases "+when, func() bool {
			leased, ok := f.leased(name)
			return ok && slices.Equal(leased, at.Made(f.t))
		})
	}
}

// keeps waits until the password of each static role is its user's.
func (f *field) keeps(when string) {
	f.t.Helper()
	for name, at := range f.targets {
		f.Await("the password of static role "+name+" to be its user's "+when, func() bool {
			status, answer := f.ask(f.running(), http.MethodGet, "database/static-creds/"+name, nil)
			var out struct {
				Data struct {
					Password string `json:"password"`
				} `json:"data"`
			}
			return status == http.StatusOK && json.Unmarshal(answer, &out) == nil && at.LogsIn(f.t, "kept", out.Data.Password)
		})
	}
}

// back waits until a node that was stopped follows. Where it was stopped while it
// wrote to its log, it takes the disk for broken and ends; then it is started
// again.
func (f *field) back(n *harness.Server) {
	f.t.Helper()
	ended := false
	f.Await("the first leader to know of the last", func() bool {
		if ended = n.Signal(syscall.Signal(0)) != nil; ended {
			return true
		}
		status, answer := n.Do(http.MethodGet, "sys/leader", "", nil)
		var out struct {
			Self   bool   `json:"is_self"`
			Leader string `json:"leader_address"`
		}
		return status == http.StatusOK && json.Unmarshal(answer, &out) == nil && !out.Self && out.Leader != ""
	})
	if ended {
		n.Restart()
		f.Unseal(n)
	}
}

// TestKilled stops a leader in the midst of it all, kills those that come after
// it, and has the first one wake up when all that it had begun was undone by
// others.
func TestKilled(t *testing.T) {
	t.Parallel()
	f := newField(t)
	var stop atomic.Bool
	clients := f.load(&stop)
	f.whenever()
	first := f.running()
	f.paused.Store(first)
	if err := first.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range *kills {
		f.whenever()
		leader := f.running()
		leader.Kill()
		leader.Restart()
		f.Unseal(leader)
	}
	stop.Store(true)
	clients.Wait()
	f.matches("while the first leader is stopped")
	f.keeps("while the first leader is stopped")
	if err := first.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	f.paused.Store(nil)
	f.back(first)
	f.matches("after it woke up")
	f.keeps("after it woke up")
	t.Logf("%d users were made", f.made.Load())
	for name := range f.targets {
		if status, answer := f.ask(f.running(), http.MethodPut, "sys/leases/revoke-prefix/database/creds/"+name, map[string]any{"sync": true}); status != http.StatusNoContent {
			t.Errorf("revoke all of %s: %d %s", name, status, answer)
		}
	}
	f.matches("after all were revoked")
	for name, at := range f.targets {
		if left := at.Made(t); len(left) != 0 {
			t.Errorf("%s has %d users left", name, len(left))
		}
	}
}
