package quotas

import (
	"net/netip"
	"sync"
	"time"
)

const (
	meterShards = 16
	// maxClients is how many clients a shard knows apart.
	maxClients = 4096
	// subnet is what counts as one client of IPv6: who has an address has as
	// many as that.
	subnet = 64
)

// meter counts the requests of clients under one rule. It is safe for
// concurrent use.
type meter struct{ shards [meterShards]shard }

type shard struct {
	mu      sync.Mutex
	clients map[netip.Addr]*spending
	// others is for whoever there was no room for.
	others spending
	// swept is when those who have been quiet were last forgotten.
	swept time.Time
}

// spending is what one client has used of its time.
type spending struct {
	since, until time.Time
	used         int64
	// blocked is until when the client is kept out.
	blocked time.Time
}

func newMeter() *meter { return &meter{} }

// client is the address that stands for all that a client may have.
func client(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(subnet); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// verdict is what a rate limit says to a request.
type verdict struct {
	allowed          bool
	limit, remaining int64
	// reset is when there is more.
	reset time.Duration
}

// take asks for one request.
func (m *meter) take(addr netip.Addr, now time.Time, allowed int64, interval, block time.Duration) verdict {
	addr = client(addr)
	bytes := addr.As16()
	hash := uint32(2166136261) // FNV-1a
	for _, b := range bytes {
		hash = (hash ^ uint32(b)) * 16777619
	}
	s := &m.shards[(hash^hash>>16)%meterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ofLocked(addr, now, interval).take(now, allowed, interval, block)
}

// ofLocked returns what a client has spent.
func (s *shard) ofLocked(addr netip.Addr, now time.Time, interval time.Duration) *spending {
	if c := s.clients[addr]; c != nil {
		return c
	}
	if s.clients == nil {
		s.clients = make(map[netip.Addr]*spending)
	}
	if len(s.clients) >= maxClients && now.Sub(s.swept) >= min(interval, time.Second) {
		s.swept = now
		for a, c := range s.clients {
			if !now.Before(c.until) && !now.Before(c.blocked) {
				delete(s.clients, a)
			}
		}
	}
	if len(s.clients) >= maxClients {
		return &s.others
	}
	c := new(spending)
	s.clients[addr] = c
	return c
}

func (c *spending) take(now time.Time, allowed int64, interval, block time.Duration) verdict {
	if now.Before(c.blocked) {
		return verdict{limit: allowed, reset: c.blocked.Sub(now)}
	}
	if !now.Before(c.until) || now.Before(c.since) {
		c.since, c.until, c.used = now, now.Add(interval), 0
	}
	v := verdict{limit: allowed, reset: c.until.Sub(now)}
	if c.used >= allowed {
		if block > 0 {
			c.blocked = now.Add(block)
			v.reset = block
		}
		return v
	}
	c.used++
	v.allowed, v.remaining = true, allowed-c.used
	return v
}
