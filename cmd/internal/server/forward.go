package server

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/coffer-secrets/coffer/cluster/wire"
	httpapi "github.com/coffer-secrets/coffer/http"
)

// lookForLeader is how often a request that waits for a leader looks for one.
const lookForLeader = 10 * time.Millisecond

// forwarder takes requests to the node that leads.
type forwarder struct {
	node *node
	port *wire.Port
}

var _ httpapi.Peers = (*forwarder)(nil)

// Leads implements httpapi.Peers.
func (f *forwarder) Leads() bool {
	status := f.node.Node.Status()
	return status.Leader && status.Ready
}

// Leader implements httpapi.Peers.
func (f *forwarder) Leader(ctx context.Context) (node string, self bool, err error) {
	if id, ok := f.known(); ok { // as nearly always
		return id, id == f.node.id, nil
	}
	tick := time.NewTicker(lookForLeader)
	defer tick.Stop()
	for {
		if id, ok := f.known(); ok {
			return id, id == f.node.id, nil
		}
		select {
		case <-ctx.Done():
			return "", false, ctx.Err()
		case <-tick.C:
		}
	}
}

// known is the node that leads, if one is known that can.
func (f *forwarder) known() (string, bool) {
	status := f.node.Node.Status()
	return status.LeaderID, status.LeaderID != "" && (status.LeaderID != f.node.id || status.Ready)
}

// Do implements httpapi.Peers.
func (f *forwarder) Do(node string, req *http.Request) (*http.Response, error) {
	at, err := url.Parse(wire.URL(node, req.URL.Path))
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = at, at.Host
	return f.port.Do(req)
}
