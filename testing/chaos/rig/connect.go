package rig

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"

	"github.com/coffer-secrets/coffer/testing/chaos/proxy"
	"github.com/coffer-secrets/coffer/testing/daemon"
	"github.com/coffer-secrets/coffer/testing/harness"
	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

// connect makes the network, and returns the host that is the database's.
func (r *Rig) connect(ctx context.Context, o Options, options *harness.Options) *netns.Host {
	if r.NoHosts = errors.New("as was asked for"); !o.Loopback {
		r.hosts, r.NoHosts = netns.Up(ctx, o.Nodes+1)
	}
	if r.NoHosts == nil {
		r.tb.Cleanup(func() { _ = r.hosts.Close() })
		r.Net, r.Outside, r.Hosts = r.hosts, r.hosts.Outside, r.hosts.Hosts[:o.Nodes]
		return r.hosts.Hosts[o.Nodes]
	}
	r.proxy = proxy.New()
	r.tb.Cleanup(func() { _ = r.proxy.Close() })
	r.Net = r.proxy
	for i := range o.Nodes {
		h := &netns.Host{Addr: ownAddr()}
		r.Hosts = append(r.Hosts, h)
		r.proxy.Process(h, func() int { return r.pid(i) })
	}
	options.Between = func(host *netns.Host, address string) (string, error) {
		bind, err := daemon.FreeAddress()
		if err != nil {
			return "", err
		}
		return bind, r.proxy.Add(host, address, bind)
	}
	database := &netns.Host{Addr: ownAddr()}
	r.proxy.Process(database, func() int { return 0 })
	return database
}

// pid is that of a node's process; 0: it is not known yet.
func (r *Rig) pid(i int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pids[i]
}

// notePid keeps which process a node is.
func (r *Rig) notePid(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pids[i] = r.Nodes[i].Pid()
}

// ownAddr is one of this machine's that is most likely nobody else's.
func ownAddr() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))}) // #nosec G404 G115 -- not a secret
}
