package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The protocols, as ALPN names them.
const (
	protoRaft   = "coffer-raft/1"
	protoGossip = "coffer-gossip/1"
	protoRPC    = "h2"
)

const (
	handshakeTimeout = 5 * time.Second
	// maxHandshakes bounds strangers: more wait in the kernel's queue.
	maxHandshakes = 64
	// backlog bounds the connections that a protocol has not accepted yet.
	backlog      = 16
	rpcIdle      = 2 * time.Minute
	acceptPause  = 50 * time.Millisecond
	maxRPCHeader = 64 << 10
)

// Config is what a Port is made of.
type Config struct {
	// Listener is the cluster port, without TLS. The Port closes it.
	Listener net.Listener
	// Advertise is where peers reach the port, host and port number; empty: where
	// the listener is.
	Advertise string
	// Member reports whether a node that shows a certificate may come in.
	Member func(node string) bool
	// Address returns where a node is reached.
	Address func(node string) (string, bool)
	// RPC answers the calls of other nodes; PeerOf tells whose they are.
	RPC    http.Handler
	Logger *slog.Logger
	// Now is the time that certificates are judged by; nil: time.Now.
	Now func() time.Time
}

// Port is a node's end of all connections between nodes. Without an identity
// it refuses all of them. It is safe for concurrent use.
type Port struct {
	cfg      Config
	identity atomic.Pointer[Identity]
	raft     *queue
	gossip   *queue
	rpc      *queue
	server   *http.Server
	client   *http.Client
	slots    chan struct{}

	ctx     context.Context //nolint:containedctx // that of the connections, which outlive any call
	closing chan struct{}
	once    sync.Once
	workers sync.WaitGroup

	mu    sync.Mutex
	conns map[*tracked]struct{} // accepted and dialled
}

// Open begins to accept connections. ctx is that of their handshakes.
func Open(ctx context.Context, cfg Config) *Port {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Advertise == "" {
		cfg.Advertise = cfg.Listener.Addr().String()
	}
	p := &Port{
		ctx: ctx, cfg: cfg, slots: make(chan struct{}, maxHandshakes), closing: make(chan struct{}), conns: make(map[*tracked]struct{}),
	}
	addr := cfg.Listener.Addr()
	p.raft, p.gossip, p.rpc = newQueue(addr, p.closing), newQueue(addr, p.closing), newQueue(addr, p.closing)
	p.server = &http.Server{
		Handler: p.authenticated(cfg.RPC), IdleTimeout: rpcIdle, ReadHeaderTimeout: handshakeTimeout, MaxHeaderBytes: maxRPCHeader,
		TLSConfig: &tls.Config{NextProtos: []string{protoRPC}, MinVersion: tls.VersionTLS13},
		ErrorLog:  slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, p.nodeOf(c))
		},
	}
	p.client = p.newClient()
	p.workers.Go(p.accept)
	p.workers.Go(func() { _ = p.server.Serve(p.rpc) })
	return p
}

// Addr is where the port listens.
func (p *Port) Addr() net.Addr { return p.cfg.Listener.Addr() }

// Identity is who the node is; nil until it is told.
func (p *Port) Identity() *Identity { return p.identity.Load() }

// SetIdentity tells the node who it is. New connections use it; old ones stay.
func (p *Port) SetIdentity(i *Identity) { p.identity.Store(i) }

// Close ends all connections.
func (p *Port) Close() error {
	var err error
	p.once.Do(func() {
		close(p.closing)
		err = errors.Join(p.cfg.Listener.Close(), p.server.Close())
		p.client.CloseIdleConnections()
		p.drop(func(*tracked) bool { return true })
		p.workers.Wait()
	})
	return err
}

// Disconnect ends the connections with a node that is no member any more.
func (p *Port) Disconnect(node string) {
	p.drop(func(c *tracked) bool { return c.node == node })
}

func (p *Port) drop(which func(*tracked) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if which(c) {
			_ = c.Conn.Close() // its owner sees that, and closes the rest
		}
	}
}

func (p *Port) accept() {
	for {
		select {
		case p.slots <- struct{}{}:
		case <-p.closing:
			return
		}
		conn, err := p.cfg.Listener.Accept()
		if err != nil {
			<-p.slots
			select {
			case <-p.closing:
				return
			case <-time.After(acceptPause): // too many open files, perhaps
				continue
			}
		}
		p.workers.Go(func() {
			defer func() { <-p.slots }()
			tracked := p.track(conn)
			if err := p.welcome(tracked); err != nil {
				_ = tracked.Close()
				p.cfg.Logger.Debug("refused a connection on the cluster port", "from", conn.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// welcome finds out who has connected, and what for.
func (p *Port) welcome(raw *tracked) error {
	id := p.identity.Load()
	if id == nil {
		return errors.New("wire: this node is not a member of a cluster yet")
	}
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	var node string
	conn := tls.Server(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.cert}, ClientAuth: tls.RequireAnyClientCert,
		NextProtos: []string{protoRaft, protoGossip, protoRPC}, SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) (err error) {
			if node, err = id.verify(&state, p.cfg.Now()); err != nil {
				return err
			}
			if !p.cfg.Member(node) {
				return errRemoved
			}
			return nil
		},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	to := map[string]*queue{protoRaft: p.raft, protoGossip: p.gossip, protoRPC: p.rpc}[conn.ConnectionState().NegotiatedProtocol]
	if to == nil {
		return errors.New("wire: the peer names no protocol")
	}
	raw.of(node)
	return to.put(conn)
}

// dial reaches a node for a protocol, and no other node.
func (p *Port) dial(ctx context.Context, node, address, proto string) (net.Conn, error) {
	id := p.identity.Load()
	if id == nil {
		return nil, errors.New("wire: this node is not a member of a cluster yet")
	}
	dialled, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	raw := p.track(dialled)
	raw.of(node)
	conn := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.cert}, NextProtos: []string{proto},
		InsecureSkipVerify: true, // #nosec G402 -- VerifyConnection verifies: a node's name is no host's
		VerifyConnection: func(state tls.ConnectionState) error {
			got, err := id.verify(&state, p.cfg.Now())
			if err == nil && got != node {
				err = errOther
			}
			return err
		},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol != proto {
		_ = conn.Close()
		return nil, errors.New("wire: the peer does not know the protocol")
	}
	return conn, nil
}

// tracked is a connection below TLS that ends with its port.
type tracked struct {
	net.Conn
	port *Port
	node string // guarded by port.mu
}

func (p *Port) track(c net.Conn) *tracked {
	t := &tracked{Conn: c, port: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[t] = struct{}{}
	return t
}

// of notes which node a connection turned out to be with.
func (c *tracked) of(node string) {
	c.port.mu.Lock()
	defer c.port.mu.Unlock()
	c.node = node
}

// Close implements net.Conn.
func (c *tracked) Close() error {
	c.port.mu.Lock()
	delete(c.port.conns, c)
	c.port.mu.Unlock()
	return c.Conn.Close()
}

// nodeOf tells which node an accepted connection is with.
func (p *Port) nodeOf(c net.Conn) string {
	conn, ok := c.(*tls.Conn)
	if !ok {
		return ""
	}
	t, ok := conn.NetConn().(*tracked)
	if !ok {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return t.node
}

// queue is a net.Listener of connections that are of one protocol.
type queue struct {
	addr    net.Addr
	conns   chan net.Conn
	closing <-chan struct{}
}

func newQueue(addr net.Addr, closing <-chan struct{}) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn, backlog), closing: closing}
}

func (q *queue) put(c net.Conn) error {
	select {
	case q.conns <- c:
		return nil
	case <-q.closing:
		return net.ErrClosed
	default:
		return errors.New("wire: too many connections wait")
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closing:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; the queue ends with its port.
func (q *queue) Close() error   { return nil }
func (q *queue) Addr() net.Addr { return q.addr }
