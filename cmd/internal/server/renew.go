package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/cluster/wire"
	"github.com/coffer-secrets/coffer/core"
)

const (
	keepEvery = time.Second
	// renewPause is how long a node waits that the leader gave no certificate.
	renewPause = time.Minute
	// movePause is how long a node waits until it tells again where it is.
	movePause   = 5 * time.Second
	renewWait   = 10 * time.Second
	maxRenewing = 16 << 10
)

// renewing is what a member asks the leader: a certificate for its key, and to
// be reached where it is by now.
type renewing struct {
	Address string `json:"address"`
	Public  []byte `json:"public"`
}

// renewal is the answer, in DER.
type renewal struct {
	Certificate []byte `json:"certificate"`
	Root        []byte `json:"root"`
}

// keep ends the connections with nodes that are no members any more, and keeps
// the node's certificate and address up to date. A sealed node does so too.
func (p *peers) keep(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	known := make(map[string]bool)
	var rest time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		n := p.node
		p.mu.Unlock()
		if n == nil {
			continue
		}
		members := n.Members()
		known = p.dropRemoved(known, members)
		if now := time.Now(); now.After(rest) {
			rest = now.Add(p.renewIfDue(ctx, n, members))
		}
	}
}

// dropRemoved ends the connections with those who were members and are not, and
// returns who is.
func (p *peers) dropRemoved(known map[string]bool, members []cluster.Member) map[string]bool {
	now := make(map[string]bool, len(members))
	for _, m := range members {
		now[m.ID] = true
	}
	for id := range known {
		if !now[id] && id != p.id {
			p.port.Disconnect(id)
		}
	}
	return now
}

// renewIfDue asks the leader for what is due, and returns how long to wait until
// the next look.
func (p *peers) renewIfDue(ctx context.Context, n *cluster.Node, members []cluster.Member) time.Duration {
	identity, status := p.port.Identity(), n.Status()
	if identity == nil || status.Leader {
		return 0 // the leader sees to itself
	}
	moved, others := false, []string{}
	for _, m := range members {
		if m.ID != p.id {
			others = append(others, m.ID)
		} else {
			moved = m.Address != p.advertise
		}
	}
	due := identity.Due(time.Now())
	if !moved && !due {
		return 0
	}
	if status.LeaderID != "" {
		others = []string{status.LeaderID}
	} // or the one that leads does not reach this node where it is now
	for _, node := range others {
		err := p.renew(ctx, node, identity)
		if err == nil {
			return movePause
		}
		p.log.Info("asked in vain for a certificate, or to note this node's address", "node", node, "until", identity.NotAfter(), "error", err)
	}
	if due && !moved {
		return renewPause
	}
	return movePause
}

func (p *peers) renew(ctx context.Context, leader string, identity *wire.Identity) error {
	ctx, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	public, err := identity.Public()
	if err != nil {
		return err
	}
	body, err := json.Marshal(renewing{Address: p.advertise, Public: public})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.URL(leader, pathRenew), bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := p.port.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(resp)
	}
	var out renewal
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRefusal)).Decode(&out); err != nil {
		return err
	}
	next, err := identity.Renewed(out.Certificate, out.Root)
	if err != nil {
		return err
	}
	return p.assume(next)
}

// answerRenew gives a member another certificate. Which one asks is told by the
// certificate that it still has.
func (p *peers) answerRenew(c *core.Core) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in renewing
		if json.NewDecoder(io.LimitReader(r.Body, maxRenewing)).Decode(&in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		node := wire.PeerOf(r.Context())
		certificate, root, err := c.Renew(r.Context(), node, in.Address, in.Public)
		if err != nil {
			p.log.Warn("a member was given no certificate", "member", node, "error", err)
			refuse(w, err, "the leader could not make a certificate")
			return
		}
		_ = json.NewEncoder(w).Encode(renewal{Certificate: certificate, Root: root})
	}
}
