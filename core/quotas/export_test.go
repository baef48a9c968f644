package quotas

import (
	"net/netip"
	"time"
)

// Share is what one of so many nodes may allow.
func Share(rate float64, interval time.Duration, nodes int) (int64, time.Duration) {
	return (&Rule{Rate: rate, Interval: interval}).share(nodes)
}

// NewMeter returns a function that asks a new meter for one request.
func NewMeter(allowed int64, interval, block time.Duration) (take func(addr netip.Addr, now time.Time) bool, clients func() int) {
	m := newMeter()
	take = func(addr netip.Addr, now time.Time) bool { return m.take(addr, now, allowed, interval, block).allowed }
	clients = func() int {
		n := 0
		for i := range m.shards {
			n += len(m.shards[i].clients)
		}
		return n
	}
	return take, clients
}
