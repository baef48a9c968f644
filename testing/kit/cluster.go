package kit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	httpapi "github.com/coffer-secrets/coffer/http"
)

const (
	// clusterElection is how long a follower of a cluster waits for its leader.
	clusterElection = 150 * time.Millisecond
	// clusterHold is how long a read waits for a leader: on a machine that is busy,
	// elections take many times as long as they have to.
	clusterHold  = 10 * time.Second
	lookEvery    = 5 * time.Millisecond
	memberPrefix = "node-"
)

// errBroken is a connection between nodes that broke.
var errBroken = errors.New("kit: the connection broke")

// Cluster is several nodes in one process, and the network between them.
type Cluster struct {
	t testing.TB
	// Nodes are the members; the first has founded the cluster.
	Nodes []*Server

	mu      sync.Mutex
	members map[string]*member
	// drop, if set, reports whether an answer of a node to another is lost.
	drop func(from, to string) bool
}

// member is a node's place in the network.
type member struct {
	c         *Cluster
	id        string
	transport *raft.InmemTransport
	readHold  time.Duration // 0: clusterHold
	cut       bool
	// gone is closed and replaced when what is under way with the node breaks.
	gone    chan struct{}
	server  *Server
	forward http.Handler
}

// NewCluster starts nodes, all of them unsealed voters.
func NewCluster(t testing.TB, size int, list ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, members: make(map[string]*member)}
	for i := range size {
		m := &member{c: c, id: memberPrefix + strconv.Itoa(i+1)}
		c.members[m.id] = m
		options := append([]Option{func(o *options) { o.member = m }}, list...)
		if i > 0 {
			options = append(options, Uninitialized())
		}
		c.Nodes = append(c.Nodes, New(t, options...))
	}
	first := c.Nodes[0]
	for _, s := range c.Nodes[1:] {
		s.Root, s.Keys = first.Root, first.Keys
		c.admit(s)
		s.Unseal()
	}
	t.Cleanup(c.verify)
	return c
}

// admit makes a node a voter and waits until it has what the others have. On a
// machine that is busy, another node may come to lead in the middle of it.
func (c *Cluster) admit(s *Server) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	id := s.opts.member.id
	for {
		leader := c.Leader()
		err := leader.Node.AddVoter(ctx, id, id)
		if err == nil {
			err = s.Node.WaitApplied(ctx, leader.Node.Status().Applied)
		}
		switch {
		case err == nil:
			return
		case !errors.Is(err, cluster.ErrNotLeader) && !errors.Is(err, cluster.ErrUnknown), ctx.Err() != nil:
			c.t.Fatal(err)
		}
	}
}

// configure makes a node of the network of a node alone.
func (m *member) configure(config *cluster.Config) {
	_, m.transport = raft.NewInmemTransportWithTimeout(raft.ServerAddress(m.id), clusterElection)
	config.NodeID, config.Address, config.Transport = m.id, m.id, m.transport
	config.ElectionTimeout, config.HoldTimeout = clusterElection, clusterHold
	if m.readHold > 0 {
		config.HoldTimeout = m.readHold
	}
	config.ReadIndex = func(ctx context.Context, leader string) (uint64, error) {
		to, broken := m.c.reach(m.id, leader)
		if to == nil {
			return 0, errBroken
		}
		type answer struct {
			index uint64
			err   error
		}
		got := make(chan answer, 1)
		go func() {
			index, err := to.server.Node.ReadIndex(ctx)
			got <- answer{index, err}
		}()
		select {
		case a := <-got:
			return a.index, a.err
		case <-broken:
			return 0, errBroken
		}
	}
}

// serve lets the node's API reach the others.
func (m *member) serve(s *Server, api *httpapi.Config) {
	api.Peers = m
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.server, m.forward, m.cut, m.gone = s, httpapi.Forwarded(*api), false, make(chan struct{})
	m.c.connectLocked()
}

// reach returns a node that another can reach, and what tells that it no longer
// can; nil if it cannot.
func (c *Cluster) reach(from, to string) (*member, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, b := c.members[from], c.members[to]
	if a == nil || b == nil || a.cut || b.cut || b.server == nil {
		return nil, nil
	}
	return b, b.gone
}

func (c *Cluster) connectLocked() {
	for _, a := range c.members {
		for _, b := range c.members {
			if a == b || a.transport == nil || b.transport == nil {
				continue
			}
			if a.cut || b.cut {
				a.transport.Disconnect(b.transport.LocalAddr())
			} else {
				a.transport.Connect(b.transport.LocalAddr(), b.transport)
			}
		}
	}
}

// Leads implements httpapi.Peers.
func (m *member) Leads() bool {
	status := m.server.Node.Status()
	return status.Leader && status.Ready
}

// Leader implements httpapi.Peers.
func (m *member) Leader(ctx context.Context) (node string, self bool, err error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		status := m.server.Node.Status()
		if id := status.LeaderID; id != "" && (id != m.id || status.Ready) {
			return id, id == m.id, nil
		}
		select {
		case <-ctx.Done():
			return "", false, ctx.Err()
		case <-tick.C:
		}
	}
}

// Do implements httpapi.Peers.
func (m *member) Do(node string, req *http.Request) (*http.Response, error) {
	to, broken := m.c.reach(m.id, node)
	if to == nil {
		return nil, &net.OpError{Op: "dial", Err: errBroken}
	}
	got := make(chan *http.Response, 1)
	go func() {
		answer := httptest.NewRecorder()
		to.forward.ServeHTTP(answer, req)
		got <- answer.Result()
	}()
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-broken:
		return nil, errBroken
	case answer := <-got:
		m.c.mu.Lock()
		drop := m.c.drop
		m.c.mu.Unlock()
		if drop != nil && drop(node, m.id) {
			return nil, errBroken
		}
		return answer, nil
	}
}

// Lose has answers of nodes to others lost as which reports; nil ends that.
func (c *Cluster) Lose(which func(from, to string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop = which
}

// Cut takes a node off the network, or heals that. Clients still reach it.
func (c *Cluster) Cut(s *Server, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := s.opts.member
	m.cut = cut
	close(m.gone)
	m.gone = make(chan struct{})
	c.connectLocked()
}

// Kill ends a node as its peers see it when its process is killed.
func (c *Cluster) Kill(s *Server) {
	c.Cut(s, true)
	s.Close()
}

// Start starts a node that was killed, and unseals it.
func (c *Cluster) Start(s *Server) {
	c.t.Helper()
	s.open()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := s.Node.WaitApplied(ctx, 1); err != nil {
		c.t.Fatal(err)
	}
	s.Unseal()
}

// Leader waits until a node that is not cut off leads, and returns it.
func (c *Cluster) Leader() *Server {
	c.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		c.mu.Lock()
		for _, s := range c.Nodes {
			if m := s.opts.member; !m.cut && m.Leads() {
				c.mu.Unlock()
				return s
			}
		}
		c.mu.Unlock()
		select {
		case <-deadline:
			c.t.Fatal("nobody leads")
		case <-tick.C:
		}
	}
}

// Followers are the nodes that neither lead nor are cut off.
func (c *Cluster) Followers() []*Server {
	c.t.Helper()
	leader := c.Leader()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Server
	for _, s := range c.Nodes {
		if s != leader && !s.opts.member.cut {
			out = append(out, s)
		}
	}
	return out
}

// StepDown has the leader hand its place to another node.
func (c *Cluster) StepDown() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.Leader().Node.StepDown(ctx); err != nil && !errors.Is(err, cluster.ErrNotLeader) {
		c.t.Log(err)
	}
}

// verify is what must hold of every cluster at the end of its test.
func (c *Cluster) verify() {
	if !c.t.Failed() {
		c.Equal()
	}
}

// Equal waits until all nodes that run and are not cut off stand at one index, and
// fails the test unless their states are the same.
func (c *Cluster) Equal() {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		sums, indexes := make(map[[32]byte]bool), make(map[uint64]bool)
		newest := uint64(0)
		for _, s := range c.connected() {
			view := s.Node.Local()
			sum, err := view.Checksum()
			indexes[view.Index()], sums[sum] = true, true
			newest = max(newest, view.Index())
			view.Close()
			if err != nil {
				c.t.Fatal(err)
			}
		}
		if len(indexes) <= 1 {
			if len(sums) > 1 {
				c.t.Error("the nodes' states differ at one index")
				c.tellApart()
			}
			return
		}
		for _, s := range c.connected() {
			ctx, cancel := context.WithDeadline(context.Background(), deadline)
			_ = s.Node.WaitApplied(ctx, newest) // the next look shows
			cancel()
		}
	}
	c.t.Error("the nodes do not come to one index")
}

// tellApart logs in what the nodes' states differ: the rows, or what stands beside
// them.
func (c *Cluster) tellApart() {
	c.t.Helper()
	rows := make(map[string]map[string][]int)
	for i, s := range c.connected() {
		view := s.Node.Local()
		c.t.Logf("node %d stands at %d of term %d and time %d", i, view.Index(), view.Term(), view.Time())
		err := view.Scan(nil, nil, func(key []byte, row fsm.Row) (bool, []byte, error) {
			at, is := fmt.Sprintf("%x", key), fmt.Sprintf("version %d, expiry %d, owner %x, %d bytes %x", row.Version, row.Expiry, row.Owner, len(row.Value), sha256.Sum256(row.Value))
			if rows[at] == nil {
				rows[at] = make(map[string][]int)
			}
			rows[at][is] = append(rows[at][is], i)
			return true, nil, nil
		})
		view.Close()
		if err != nil {
			c.t.Error(err)
		}
	}
	for at, forms := range rows {
		for is, nodes := range forms {
			if len(nodes) < len(c.connected()) {
				c.t.Logf("row %s at nodes %v: %s", at, nodes, is)
			}
		}
	}
}

// connected are the nodes that run and are not cut off.
func (c *Cluster) connected() []*Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Server
	for _, s := range c.Nodes {
		if s.http != nil && !s.opts.member.cut {
			out = append(out, s)
		}
	}
	return out
}
