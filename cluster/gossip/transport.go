package gossip

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Bounds of what runs between two nodes.
const (
	maxPacket    = 16 << 10
	queuePackets = 64
	dialTimeout  = 2 * time.Second
	redialPause  = time.Second
	writeTimeout = 2 * time.Second
)

// What a connection is for, as its first byte says.
const (
	forPackets = 'p'
	forStream  = 's'
)

// Wire is the cluster port.
type Wire interface {
	DialGossip(ctx context.Context, node string) (net.Conn, error)
	// AcceptGossip ends with an error when the port is closed.
	AcceptGossip() (conn net.Conn, node string, err error)
}

var errUnknownNode = errors.New("gossip: not the address of a member")

// transport implements memberlist's. Nodes are reached by name: addresses are
// only stand-ins made of names, since where a node is, the cluster knows better.
type transport struct {
	ctx    context.Context //nolint:containedctx // that of the connections
	cancel context.CancelFunc
	wire   Wire
	self   string
	// members lists the names of the cluster's nodes.
	members func() []string

	packets chan *memberlist.Packet
	streams chan net.Conn
	workers sync.WaitGroup

	mu    sync.Mutex
	peers map[string]chan []byte // what is to be sent, by node
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(ctx context.Context, wire Wire, self string, members func() []string) *transport {
	t := &transport{
		wire: wire, self: self, members: members,
		packets: make(chan *memberlist.Packet, queuePackets), streams: make(chan net.Conn), peers: make(map[string]chan []byte),
	}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.workers.Go(t.accept)
	return t
}

// memberlist takes a name apart at slashes.
func encodeName(node string) string { return hex.EncodeToString([]byte(node)) }

func decodeName(name string) (string, error) {
	node, err := hex.DecodeString(name)
	return string(node), err
}

// standIn is an address made of a name, from the range for private use
// (RFC 4193).
func standIn(node string) net.IP {
	sum := sha256.Sum256([]byte(node))
	return append(net.IP{0xfd}, sum[:15]...)
}

const standInPort = 1

// addr is a stand-in for a node's address.
type addr string

func (addr) Network() string { return "coffer" }
func (a addr) String() string {
	return net.JoinHostPort(standIn(string(a)).String(), "1")
}

// nodeOf finds out which node an address stands for.
func (t *transport) nodeOf(a memberlist.Address) (string, error) {
	if a.Name != "" {
		return decodeName(a.Name)
	}
	for _, node := range t.members() {
		if addr(node).String() == a.Addr {
			return node, nil
		}
	}
	return "", errUnknownNode
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return standIn(t.self), standInPort, nil
}

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, to string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: to})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	node, err := t.nodeOf(to)
	if err != nil {
		return time.Time{}, err
	}
	if len(b) > maxPacket {
		return time.Time{}, errors.New("gossip: the packet is too large")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return time.Time{}, net.ErrClosed
	}
	queue := t.peers[node]
	if queue == nil {
		queue = make(chan []byte, queuePackets)
		t.peers[node] = queue
		t.workers.Go(func() { t.send(node, queue) })
	}
	select {
	case queue <- append([]byte(nil), b...):
	default: // lost, as a datagram is
	}
	return time.Now(), nil
}

// send sends packets to a node over one connection, which it makes again when it
// breaks. What comes in between is lost.
func (t *transport) send(node string, queue <-chan []byte) {
	var conn net.Conn
	var retry time.Time
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for {
		var packet []byte
		select {
		case packet = <-queue:
		case <-t.ctx.Done():
			return
		}
		if conn == nil {
			if time.Now().Before(retry) {
				continue
			}
			var err error
			if conn, err = t.dial(node, forPackets, dialTimeout); err != nil {
				conn, retry = nil, time.Now().Add(redialPause)
				continue
			}
		}
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...) // #nosec G115 -- at most maxPacket
		_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := conn.Write(frame); err != nil {
			_ = conn.Close()
			conn, retry = nil, time.Now().Add(redialPause)
		}
	}
}

func (t *transport) dial(node string, purpose byte, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	conn, err := t.wire.DialGossip(ctx, node)
	if err != nil {
		return nil, err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := conn.Write([]byte{purpose}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, conn.SetWriteDeadline(time.Time{})
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(to string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: to}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	node, err := t.nodeOf(to)
	if err != nil {
		return nil, err
	}
	return t.dial(node, forStream, timeout)
}

// Shutdown implements memberlist.Transport.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	t.cancel()
	t.mu.Unlock()
	return nil
}

func (t *transport) accept() {
	for {
		conn, node, err := t.wire.AcceptGossip()
		if err != nil {
			return
		}
		go t.receive(conn, node)
	}
}

func (t *transport) receive(conn net.Conn, node string) {
	stop := context.AfterFunc(t.ctx, func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(dialTimeout))
	var purpose [1]byte
	if _, err := io.ReadFull(conn, purpose[:]); err != nil {
		stop()
		_ = conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	if purpose[0] == forStream {
		stop()
		select {
		case t.streams <- conn:
		case <-t.ctx.Done():
			_ = conn.Close()
		}
		return
	}
	defer stop()
	defer func() { _ = conn.Close() }()
	if purpose[0] == forPackets {
		t.read(conn, node)
	}
}

func (t *transport) read(conn net.Conn, node string) {
	in := bufio.NewReader(conn)
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxPacket {
			return
		}
		packet := make([]byte, n)
		if _, err := io.ReadFull(in, packet); err != nil {
			return
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: packet, From: addr(node), Timestamp: time.Now()}:
		case <-t.ctx.Done():
			return
		}
	}
}
