package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/cluster/gossip"
	"github.com/coffer-secrets/coffer/cluster/wire"
	"github.com/coffer-secrets/coffer/core"
	httpapi "github.com/coffer-secrets/coffer/http"
)

// pathReadIndex is what followers call before a read, and pathTime a leader that
// has just been started.
const (
	pathReadIndex = "/read-index"
	pathTime      = "/time"
)

// peers is this node's end of the connections with others.
type peers struct {
	port *wire.Port
	id   string
	dir  string
	// advertise is where the others reach this node.
	advertise string
	log       *slog.Logger
	mux       *http.ServeMux
	life      context.Context //nolint:containedctx // of what a node asks by itself

	// gossip tells of the others, once it has been started.
	gossip atomic.Pointer[gossip.Gossip]
	// handed does what others hand on, once there is something that can.
	handed atomic.Pointer[http.Handler]

	mu   sync.Mutex
	node *cluster.Node
	// known are the members that the node was told of when it joined, until it
	// has a configuration of its own.
	known map[string]string
}

var _ core.Peers = (*peers)(nil)

// openPeers opens the cluster port. The identity is that of the folder, if it
// holds one.
func openPeers(ctx context.Context, listener net.Listener, id, dir, advertise string, log *slog.Logger) (*peers, error) {
	identity, err := wire.Load(dir)
	if err != nil {
		return nil, err
	}
	if identity != nil && identity.Node != id {
		return nil, fmt.Errorf("the certificate in %s is that of node %q, and this is %q: node_id cannot change", dir, identity.Node, id)
	}
	p := &peers{life: ctx, id: id, dir: dir, advertise: advertise, log: log.With("part", "peers"), mux: http.NewServeMux()}
	p.mux.HandleFunc("POST "+pathReadIndex, p.answerReadIndex)
	p.mux.HandleFunc("POST "+pathTime, p.answerTime)
	p.mux.HandleFunc("POST "+httpapi.HandPath, p.answerHanded)
	p.port = wire.Open(ctx, wire.Config{
		Listener: listener, Advertise: advertise, Member: p.member, Address: p.address, RPC: p.mux, Logger: p.log,
	})
	if identity != nil {
		p.port.SetIdentity(identity)
	}
	return p, nil
}

// answerHanded does what another node hands on. It may do so as soon as the port is
// open, since it knows this node as the leader of before.
func (p *peers) answerHanded(w http.ResponseWriter, r *http.Request) {
	if handed := p.handed.Load(); handed != nil {
		(*handed).ServeHTTP(w, r)
		return
	}
	httpapi.NotReady(w, r)
}

// use tells who is a member from now on.
func (p *peers) use(n *cluster.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.node = n
}

// learn notes members, with their addresses, of a cluster that is being joined.
func (p *peers) learn(members map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = members
}

// told is what another node has told of itself; empty if that is nothing yet.
func (p *peers) told(node string) gossip.Peer {
	g := p.gossip.Load()
	if g == nil {
		return gossip.Peer{}
	}
	peer, _ := g.Peer(node)
	return peer
}

// member reports whether a node belongs to the cluster.
func (p *peers) member(node string) bool {
	_, ok := p.address(node)
	return ok
}

// address is where a member is reached.
func (p *peers) address(node string) (string, bool) {
	p.mu.Lock()
	n, known := p.node, p.known
	p.mu.Unlock()
	if n == nil {
		return "", false
	}
	members := n.Members()
	for _, m := range members {
		if m.ID == node {
			return m.Address, true
		}
	}
	if len(members) > 0 {
		return "", false
	}
	address, ok := known[node]
	return address, ok
}

// NewAuthority implements core.Peers.
func (p *peers) NewAuthority(cluster string) ([]byte, error) {
	a, err := wire.NewAuthority(cluster, time.Now())
	if err != nil {
		return nil, err
	}
	return a.Marshal()
}

// Certified implements core.Peers.
func (p *peers) Certified(cluster string) bool {
	id := p.port.Identity()
	return id != nil && id.Cluster == cluster && !id.Due(time.Now())
}

// Certify implements core.Peers.
func (p *peers) Certify(cluster string, authority []byte) error {
	key, err := wire.NewKey()
	if err != nil {
		return err
	}
	public, err := key.Public()
	if err != nil {
		return err
	}
	certificate, root, err := p.Issue(cluster, authority, p.id, public)
	if err != nil {
		return err
	}
	return p.adopt(key, certificate, root)
}

// Issue implements core.Peers.
func (p *peers) Issue(cluster string, authority []byte, node string, public []byte) (certificate, root []byte, err error) {
	a, err := wire.ParseAuthority(cluster, authority)
	if err != nil {
		return nil, nil, err
	}
	certificate, err = a.Issue(node, public, time.Now())
	return certificate, a.Certificate(), err
}

// adopt makes a certificate this node's.
func (p *peers) adopt(key *wire.Key, certificate, root []byte) error {
	identity, err := wire.NewIdentity(key, certificate, root)
	if err != nil {
		return err
	}
	return p.assume(identity)
}

// assume keeps an identity and uses it from now on.
func (p *peers) assume(identity *wire.Identity) error {
	if err := identity.Save(p.dir); err != nil {
		return err
	}
	p.port.SetIdentity(identity)
	p.log.Info("the node has a certificate for its peers", "until", identity.NotAfter())
	return nil
}

// answerReadIndex tells a follower the index to read at, or 503 if this node
// does not lead.
func (p *peers) answerReadIndex(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	n := p.node
	p.mu.Unlock()
	if n == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	index, err := n.ReadIndex(r.Context())
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write(binary.BigEndian.AppendUint64(nil, index))
}

// readIndex asks the leader for the index to read at.
func (p *peers) readIndex(ctx context.Context, leader string) (uint64, error) {
	var answer [8]byte
	if err := p.call(ctx, leader, pathReadIndex, answer[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(answer[:]), nil
}

// answerTime tells another node what this one takes for cluster time.
func (p *peers) answerTime(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	n := p.node
	p.mu.Unlock()
	if n == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	told := n.Time()
	answer := binary.BigEndian.AppendUint64(nil, uint64(told.Now)) // #nosec G115 -- read back the same way
	if told.Live {
		answer = append(answer, 1)
	} else {
		answer = append(answer, 0)
	}
	_, _ = w.Write(answer)
}

// time asks another node for its idea of cluster time.
func (p *peers) time(member string, within time.Duration) (cluster.PeerTime, error) {
	ctx, cancel := context.WithTimeout(p.life, within)
	defer cancel()
	var answer [9]byte
	if err := p.call(ctx, member, pathTime, answer[:]); err != nil {
		return cluster.PeerTime{}, err
	}
	return cluster.PeerTime{Now: int64(binary.BigEndian.Uint64(answer[:8])), Live: answer[8] == 1}, nil // #nosec G115 -- as it was written
}

// call asks another node for something of a known length.
func (p *peers) call(ctx context.Context, member, path string, answer []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.URL(member, path), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := p.port.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the node asked for %s does not know: %s", path, resp.Status)
	}
	_, err = io.ReadFull(resp.Body, answer)
	return err
}

// listenCluster opens the socket for other nodes, and completes the address
// that they are told. What nobody configured may be taken: then another port
// will do, since nobody else was told of it either.
func (s *Server) listenCluster(ctx context.Context) (net.Listener, error) {
	bind := clusterHost(s.cfg.ClusterAddr)
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return nil, fmt.Errorf("cluster_addr %q: %w", s.cfg.ClusterAddr, err)
	}
	for _, l := range s.listeners {
		if l.cfg.ClusterAddress != "" {
			bind = l.cfg.ClusterAddress
			break
		}
		if addr, ok := l.Addr().(*net.TCPAddr); ok && (addr.IP.IsUnspecified() || net.ParseIP(host) == nil) {
			bind = net.JoinHostPort(addr.IP.String(), port)
		}
	}
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", bind)
	if err != nil && s.derived {
		bindHost, _, _ := net.SplitHostPort(bind)
		if socket, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(bindHost, "0")); err == nil {
			s.log.Debug("the port after the API's is taken: another one is used for the cluster", "address", socket.Addr().String())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen for other nodes: %w", err)
	}
	if at, ok := socket.Addr().(*net.TCPAddr); ok && s.derived {
		s.cfg.ClusterAddr = "https://" + net.JoinHostPort(host, strconv.Itoa(at.Port))
	}
	return socket, nil
}
