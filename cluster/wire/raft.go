package wire

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

const (
	raftPool    = 3
	raftTimeout = 10 * time.Second
)

// RaftTransport is the transport of Raft over the port. It is closed with it.
func (p *Port) RaftTransport() raft.Transport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: raftLayer{p}, MaxPool: raftPool, Timeout: raftTimeout, ServerAddressProvider: raftAddresses{p},
		Logger: discard(), MsgpackUseNewTimeFormat: true,
	})
}

// raftAddresses hands the node's name to Dial along with its address: Raft
// itself dials addresses, and whoever has taken one over must not be taken for
// the node that was there.
type raftAddresses struct{ port *Port }

// ServerAddr implements raft.ServerAddressProvider.
func (a raftAddresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if self := a.port.Identity(); self != nil && self.Node == string(id) {
		return raft.ServerAddress(a.port.cfg.Advertise), nil // what the peers are told
	}
	address, ok := a.port.cfg.Address(string(id))
	if !ok {
		return "", errors.New("wire: the node's address is not known")
	}
	return raft.ServerAddress(address + "/" + string(id)), nil
}

// raftLayer implements raft.StreamLayer.
type raftLayer struct{ port *Port }

func (l raftLayer) Accept() (net.Conn, error) { return l.port.raft.Accept() }
func (l raftLayer) Close() error              { return nil }
func (l raftLayer) Addr() net.Addr            { return advertised(l.port.cfg.Advertise) }

// advertised is an address as peers know it.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }

func (l raftLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	host, node, ok := strings.Cut(string(address), "/")
	if !ok {
		return nil, errors.New("wire: an address without a node")
	}
	ctx, cancel := context.WithTimeout(l.port.ctx, timeout)
	defer cancel()
	return l.port.dial(ctx, node, host, protoRaft)
}
