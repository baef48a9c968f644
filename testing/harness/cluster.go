package harness

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/daemon"
	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

const (
	settleTimeout = 90 * time.Second
	settlePause   = 50 * time.Millisecond
	// clusterPort is that of nodes with an address of their own.
	clusterPort = "8201"
)

// Cluster is some nodes that act as one, each a process of its own.
type Cluster struct {
	Nodes   []*Server
	t       testing.TB
	options Options
}

// StartCluster starts nodes that all vote, unsealed. Their cluster ports stay the
// same over a Restart. When the test ends, those that still run and serve must have
// one state.
func StartCluster(t testing.TB, size int, options Options) *Cluster {
	t.Helper()
	return startCluster(t, make([]*netns.Host, size), options)
}

// StartClusterOn is StartCluster with a node on each of these hosts.
func StartClusterOn(t testing.TB, hosts []*netns.Host, options Options) *Cluster {
	t.Helper()
	return startCluster(t, hosts, options)
}

func startCluster(t testing.TB, hosts []*netns.Host, options Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t, options: options}
	for _, host := range hosts {
		c.add(host)
	}
	c.Await("all nodes to vote", func() bool { return c.Voters() == len(hosts) })
	t.Cleanup(c.verify)
	return c
}

// Add starts another node, which joins, and unseals it. It does not vote yet.
func (c *Cluster) Add() *Server {
	c.t.Helper()
	return c.add(nil)
}

func (c *Cluster) add(host *netns.Host) *Server {
	c.t.Helper()
	o := c.options
	o.NodeID, o.Host = fmt.Sprintf("node-%d", len(c.Nodes)+1), host
	address, err := daemon.FreeAddress()
	if host != nil {
		address = net.JoinHostPort(host.Addr.String(), clusterPort)
	} else if err != nil {
		c.t.Fatal(err)
	}
	if o.Between != nil {
		if o.bind, err = o.Between(host, address); err != nil {
			c.t.Fatal(err)
		}
	}
	o.Extra += fmt.Sprintf("\ncluster_addr = \"https://%s\"\n", address)
	if len(c.Nodes) > 0 {
		o.Uninitialized = true
		o.Storage += fmt.Sprintf("\nretry_join {\n  leader_api_addr = %q\n}\n", c.Nodes[0].Address)
	}
	n := Start(c.t, o)
	c.Nodes = append(c.Nodes, n)
	if len(c.Nodes) == 1 {
		n.Root(http.MethodPost, "sys/storage/raft/autopilot/configuration", map[string]any{"server_stabilization_time": "100ms"})
		return n
	}
	n.RootToken, n.Keys = c.Nodes[0].RootToken, c.Nodes[0].Keys
	c.Unseal(n)
	return n
}

// Unseal unseals a node as soon as it has found the others.
func (c *Cluster) Unseal(n *Server) {
	c.t.Helper()
	c.Await("a node to be unsealed", func() bool {
		for _, key := range n.Keys {
			_, _ = n.Do(http.MethodPut, "sys/unseal", "", map[string]string{"key": key})
		}
		status, answer := n.Do(http.MethodGet, "sys/seal-status", "", nil)
		var state struct {
			Sealed      bool `json:"sealed"`
			Initialized bool `json:"initialized"`
		}
		return status == http.StatusOK && json.Unmarshal(answer, &state) == nil && state.Initialized && !state.Sealed
	})
}

// Voters counts the nodes that vote, as the first that answers has it.
func (c *Cluster) Voters() int {
	for _, n := range c.Nodes {
		status, answer := n.Do(http.MethodGet, "sys/storage/raft/configuration", n.RootToken, nil)
		var out struct {
			Data struct {
				Config struct {
					Servers []struct {
						Voter bool `json:"voter"`
					} `json:"servers"`
				} `json:"config"`
			} `json:"data"`
		}
		if status != http.StatusOK || json.Unmarshal(answer, &out) != nil {
			continue
		}
		voters := 0
		for _, s := range out.Data.Config.Servers {
			if s.Voter {
				voters++
			}
		}
		return voters
	}
	return 0
}

// Leader is the node that leads, once one does.
func (c *Cluster) Leader() *Server {
	c.t.Helper()
	var leader *Server
	c.Await("a leader", func() bool {
		for _, n := range c.Nodes {
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

// Followers are the other nodes.
func (c *Cluster) Followers(leader *Server) []*Server {
	var list []*Server
	for _, n := range c.Nodes {
		if n != leader {
			list = append(list, n)
		}
	}
	return list
}

// Await waits for what happens by itself.
func (c *Cluster) Await(what string, done func() bool) {
	c.t.Helper()
	await(c.t, what, done)
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(settleTimeout)
	tick := time.NewTicker(settlePause)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
