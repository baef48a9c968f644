package gossip

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// joinEvery is how often nodes are looked for that should be there, at the most:
	// it begins with joinFirst, and again when there are more members.
	joinEvery = 2 * time.Second
	joinFirst = 100 * time.Millisecond
	// tellEvery is how often a node looks whether it has something new to tell.
	tellEvery    = 100 * time.Millisecond
	updateWait   = 2 * time.Second
	leaveWait    = time.Second
	maxMetaBytes = memberlist.MetaMaxSize
)

// Meta is what a node tells of itself.
type Meta struct {
	// APIAddr is where it answers clients.
	APIAddr string `json:"a"`
	Version string `json:"v"`
	// Host is what its machine is called.
	Host string `json:"h,omitempty"`
	// Commands is the newest version of the format of commands that it knows.
	Commands uint32 `json:"c,omitempty"`
	Sealed   bool   `json:"s,omitempty"`
}

// Peer is another node, as gossip has it.
type Peer struct {
	Meta
	// Seen is when the node was last known to be there: now, for one that is.
	Seen  time.Time
	Alive bool
}

// Config is what a Gossip is made of.
type Config struct {
	Wire Wire
	// Node is this node's name; Members lists those of all nodes of the cluster.
	Node    string
	Members func() []string
	// Meta is what to tell of this node at the moment.
	Meta   func() Meta
	Logger *slog.Logger
	// Interval is how often nodes look after each other; 0: a second.
	Interval time.Duration
}

// Gossip is a node's part in the conversation. It is safe for concurrent use.
type Gossip struct {
	cfg     Config
	list    *memberlist.Memberlist
	trans   *transport
	done    context.CancelFunc
	workers sync.WaitGroup
	once    sync.Once

	mu    sync.Mutex
	peers map[string]Peer
	told  Meta
}

// Start begins to talk with the other nodes, as soon as there are any.
func Start(ctx context.Context, cfg Config) (*Gossip, error) {
	g := &Gossip{cfg: cfg, peers: make(map[string]Peer), told: cfg.Meta()}
	g.trans = newTransport(context.WithoutCancel(ctx), cfg.Wire, cfg.Node, cfg.Members)
	c := memberlist.DefaultLANConfig()
	c.Name, c.Transport = encodeName(cfg.Node), g.trans
	c.Delegate, c.Events = delegate{g}, events{g}
	c.BindAddr, c.BindPort = standIn(cfg.Node).String(), standInPort
	c.DisableTcpPings, c.EnableCompression, c.LogOutput = true, false, logWriter{cfg.Logger}
	c.DeadNodeReclaimTime = time.Second
	if cfg.Interval > 0 {
		c.ProbeInterval, c.ProbeTimeout, c.GossipInterval = cfg.Interval, cfg.Interval/2, cfg.Interval/5
	}
	var err error
	if g.list, err = memberlist.Create(c); err != nil {
		g.trans.cancel()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	ctx, g.done = context.WithCancel(ctx)
	g.workers.Go(func() { g.keepJoined(ctx) })
	g.workers.Go(func() { g.keepTelling(ctx) })
	return g, nil
}

// Close tells the others that the node goes, and ends. A second call does
// nothing.
func (g *Gossip) Close() (err error) {
	g.once.Do(func() {
		g.done()
		g.workers.Wait()
		if g.list.NumMembers() > 1 {
			_ = g.list.Leave(leaveWait) // they find out by themselves, too
		}
		err = g.list.Shutdown()
	})
	return err
}

// Peer tells of another node; false if nothing is known of it.
func (g *Gossip) Peer(node string) (Peer, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, ok := g.peers[node]
	if p.Alive {
		p.Seen = time.Now()
	}
	return p, ok
}

// keepJoined looks for members that are not part of the conversation.
func (g *Gossip) keepJoined(ctx context.Context) {
	most := joinEvery
	if g.cfg.Interval > 0 {
		most = g.cfg.Interval
	}
	wait := min(joinFirst, most)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for known := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		members := g.cfg.Members()
		if wait = min(2*wait, most); len(members) > known { // somebody is new, perhaps all are
			wait = min(joinFirst, most)
		}
		known = len(members)
		timer.Reset(wait)
		var missing []string
		for _, node := range members {
			if p, ok := g.Peer(node); node != g.cfg.Node && (!ok || !p.Alive) {
				missing = append(missing, encodeName(node)+"/"+addr(node).String())
			}
		}
		if len(missing) > 0 {
			_, _ = g.list.Join(missing) // whoever is not there is looked for again
		}
	}
}

// keepTelling tells the others what has changed of this node.
func (g *Gossip) keepTelling(ctx context.Context) {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := g.cfg.Meta(); now != g.told {
			g.mu.Lock()
			g.told = now
			g.mu.Unlock()
			_ = g.list.UpdateNode(updateWait)
		}
	}
}

func (g *Gossip) note(n *memberlist.Node, alive bool) {
	name, err := decodeName(n.Name)
	if err != nil || name == g.cfg.Node {
		return
	}
	p := Peer{Seen: time.Now(), Alive: alive}
	if json.Unmarshal(n.Meta, &p.Meta) != nil {
		p.Meta = Meta{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.peers[name] = p
}

// events implements memberlist.EventDelegate.
type events struct{ g *Gossip }

func (e events) NotifyJoin(n *memberlist.Node)   { e.g.note(n, true) }
func (e events) NotifyUpdate(n *memberlist.Node) { e.g.note(n, true) }
func (e events) NotifyLeave(n *memberlist.Node)  { e.g.note(n, false) }

// delegate implements memberlist.Delegate: there is nothing but the meta data.
type delegate struct{ g *Gossip }

func (d delegate) NodeMeta(limit int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	text, err := json.Marshal(d.g.told)
	if err != nil || len(text) > min(limit, maxMetaBytes) {
		return nil
	}
	return text
}

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(_, _ int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// logWriter passes what the library says to the log: all of it as detail, since
// nothing of it calls for somebody.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(p)), "part", "gossip")
	return len(p), nil
}
