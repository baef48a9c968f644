package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// DialGossip connects to a node for gossip.
func (p *Port) DialGossip(ctx context.Context, node string) (net.Conn, error) {
	address, ok := p.cfg.Address(node)
	if !ok {
		return nil, errors.New("wire: the node's address is not known")
	}
	return p.dial(ctx, node, address, protoGossip)
}

// AcceptGossip returns the next connection for gossip, and whose it is.
func (p *Port) AcceptGossip() (net.Conn, string, error) {
	c, err := p.gossip.Accept()
	if err != nil {
		return nil, "", err
	}
	conn, ok := c.(*tls.Conn)
	if !ok {
		return nil, "", errors.New("wire: not a connection of this port")
	}
	return c, p.nodeOf(conn), nil
}
