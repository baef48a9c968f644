package netns

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Link says how packets get from one host to another; the zero value carries all
// of them at once.
type Link struct {
	// Cut loses everything, silently, as a broken cable does.
	Cut bool
	// Delay is how long a packet is under way, and Jitter up to how much longer:
	// what jitter sets apart may arrive in another order.
	Delay, Jitter time.Duration
	// Loss and Duplicate are the parts of all packets, from 0 to 1, that do not
	// arrive, or arrive twice.
	Loss, Duplicate float64
	// BytesPerSecond is what the link carries; 0: any amount.
	BytesPerSecond int
}

const (
	// longestQueue is how long a packet may wait for a slow link. What would wait
	// longer is lost, as in any router.
	longestQueue = time.Second
	// maxPacket is more than any packet has.
	maxPacket = 64 << 10
	// Offsets in an IPv4 header.
	destination = 16
	headerEnd   = 20
)

// pair is a direction between two hosts.
type pair struct{ from, to *Host }

// link is a direction that does not carry everything at once.
type link struct {
	Link

	mu   sync.Mutex
	free time.Time // when a slow link is free again
}

// Shape says how packets get from one host to another from now on; it leaves the
// other direction alone.
func (n *Network) Shape(from, to *Host, how Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if how == (Link{}) {
		delete(n.links, pair{from, to})
		return
	}
	n.links[pair{from, to}] = &link{Link: how}
}

// CutOneWay loses what one host sends to another.
func (n *Network) CutOneWay(from, to *Host) { n.Shape(from, to, Link{Cut: true}) }

// Cut loses what two hosts send to each other.
func (n *Network) Cut(a, b *Host) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// Partition cuts the hosts of each group off from those of the others. Hosts that
// are in none, as Outside mostly is, still reach all.
func (n *Network) Partition(groups ...[]*Host) { Apart(n.Cut, groups...) }

// Apart cuts the hosts of each group off from those of the others.
func Apart(cut func(a, b *Host), groups ...[]*Host) {
	for i, one := range groups {
		for _, other := range groups[i+1:] {
			for _, a := range one {
				for _, b := range other {
					cut(a, b)
				}
			}
		}
	}
}

// Heal has all links carry everything at once.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
}

// carry brings what a host sends to where it is to go, until the network is closed.
func (n *Network) carry(from *Host) {
	buf := make([]byte, maxPacket)
	for {
		size, err := from.file.Read(buf)
		if err != nil {
			return
		}
		packet := buf[:size]
		if size < headerEnd || packet[0]>>4 != 4 {
			continue
		}
		to := n.byAddr[netip.AddrFrom4([4]byte(packet[destination:headerEnd]))]
		if to == nil || to == from {
			continue
		}
		if tap := n.tap.Load(); tap != nil {
			(*tap)(from, to, packet)
		}
		n.mu.RLock()
		l := n.links[pair{from, to}]
		n.mu.RUnlock()
		if l == nil {
			_, _ = to.file.Write(packet) // what a host does not take is lost
			continue
		}
		l.send(to, packet)
	}
}

// send has a packet arrive as the link says.
func (l *link) send(to *Host, packet []byte) {
	if l.Cut || l.Loss > 0 && rand.Float64() < l.Loss { // #nosec G404 -- a test's faults
		return
	}
	copies := 1
	if l.Duplicate > 0 && rand.Float64() < l.Duplicate { // #nosec G404 -- a test's faults
		copies = 2
	}
	queue, ok := l.queue(len(packet))
	if !ok {
		return
	}
	for range copies {
		wait := queue + l.Delay
		if l.Jitter > 0 {
			wait += rand.N(l.Jitter) // #nosec G404 -- a test's faults
		}
		if wait <= 0 {
			_, _ = to.file.Write(packet)
			continue
		}
		held := append([]byte(nil), packet...)
		time.AfterFunc(wait, func() { _, _ = to.file.Write(held) })
	}
}

// queue is how long a packet waits until a slow link has carried it; false if it
// has no room left.
func (l *link) queue(size int) (time.Duration, bool) {
	if l.BytesPerSecond == 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	begin := l.free
	if begin.Before(now) {
		begin = now
	}
	if begin.Sub(now) > longestQueue {
		return 0, false
	}
	l.free = begin.Add(time.Duration(size) * time.Second / time.Duration(l.BytesPerSecond))
	return l.free.Sub(now), true
}
