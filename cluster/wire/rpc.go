package wire

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"time"
)

const (
	dialTimeout = 3 * time.Second
	// pingAfter is how long a peer may be silent before it is asked whether it
	// is there, and pingWait how long it has to answer.
	pingAfter = 2 * time.Second
	pingWait  = 2 * time.Second
)

type peerKey struct{}

// PeerOf is the node that a call came from.
func PeerOf(ctx context.Context) string {
	node, _ := ctx.Value(peerKey{}).(string)
	return node
}

// authenticated refuses what came in without a node, or from one that has been
// removed since it connected.
func (p *Port) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if node := PeerOf(r.Context()); node == "" || !p.cfg.Member(node) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *Port) newClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Protocols: protocols, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: rpcIdle,
			HTTP2:              &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
			DisableCompression: true,
			DialTLSContext: func(ctx context.Context, _, hostport string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(hostport)
				if err != nil {
					return nil, err
				}
				node, err := hex.DecodeString(host)
				if err != nil {
					return nil, err
				}
				address, ok := p.cfg.Address(string(node))
				if !ok {
					return nil, errors.New("wire: the node's address is not known")
				}
				ctx, cancel := context.WithTimeout(ctx, dialTimeout)
				defer cancel()
				return p.dial(ctx, string(node), address, protoRPC)
			},
		},
	}
}

// URL is the address of a call to a node, for Do.
func URL(node, path string) string { return "https://" + hex.EncodeToString([]byte(node)) + path }

// Do calls another node.
func (p *Port) Do(req *http.Request) (*http.Response, error) {
	return p.client.Do(req) // #nosec G704 -- to members only, whose addresses the cluster keeps
}
