package proxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

const (
	// resend is how long a loss takes, at first; it doubles with each.
	resend    = 200 * time.Millisecond
	mostLost  = 3
	chunkSize = 16 << 10
	// underWay is how many chunks may be.
	underWay = 256
	// dialWithin bounds a connection to whom it is for.
	dialWithin = 2 * time.Second
)

// Network is some hosts, and what is between them. Its hosts are known by the
// processes that run on them.
type Network struct {
	ctx     context.Context //nolint:containedctx // ends what is under way
	cancel  context.CancelFunc
	running sync.WaitGroup
	closers []io.Closer

	mu sync.Mutex
	// pids tell which process is a host's; 0: none now.
	pids  map[*netns.Host]func() int
	links map[pair]netns.Link
	// changed is closed and replaced when links change.
	changed chan struct{}
}

type pair struct{ from, to *netns.Host }

// New makes a network without hosts.
func New() *Network {
	n := &Network{pids: make(map[*netns.Host]func() int), links: make(map[pair]netns.Link), changed: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Add has connections to an address reach a host at another one.
func (n *Network) Add(h *netns.Host, at, target string) error {
	l, err := new(net.ListenConfig).Listen(n.ctx, "tcp", at)
	if err != nil {
		return err
	}
	n.closers = append(n.closers, l)
	n.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n.running.Go(func() { n.connect(conn, h, target) })
		}
	})
	return nil
}

// Process says which process is a host's.
func (n *Network) Process(h *netns.Host, pid func() int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pids[h] = pid
}

// Close ends all connections.
func (n *Network) Close() error {
	n.cancel()
	var errs []error
	for _, c := range n.closers {
		errs = append(errs, c.Close())
	}
	n.running.Wait()
	return errors.Join(errs...)
}

// Shape says what becomes of what one host sends another from now on.
func (n *Network) Shape(from, to *netns.Host, how netns.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[pair{from, to}] = how
	n.changeLocked()
}

// CutOneWay has nothing arrive of what one host sends another.
func (n *Network) CutOneWay(from, to *netns.Host) { n.Shape(from, to, netns.Link{Cut: true}) }

// Cut has nothing arrive of what two hosts send each other.
func (n *Network) Cut(a, b *netns.Host) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// Partition cuts the hosts of each group off from those of the others.
func (n *Network) Partition(groups ...[]*netns.Host) { netns.Apart(n.Cut, groups...) }

// Heal has everything arrive at once.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
	n.changeLocked()
}

func (n *Network) changeLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// link is how a process reaches a host, or with back how that reaches it, and what
// tells that this may have changed.
func (n *Network) link(pid int, h *netns.Host, back bool) (how netns.Link, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other, of := range n.pids {
		if other == h || pid == 0 || of() != pid {
			continue
		}
		if back {
			return n.links[pair{h, other}], n.changed
		}
		return n.links[pair{other, h}], n.changed
	}
	return netns.Link{}, n.changed
}

// connect hands on what is said on a connection, both ways.
func (n *Network) connect(conn net.Conn, h *netns.Host, target string) {
	defer func() { _ = conn.Close() }()
	pid := dialer(conn)
	if n.whole(pid, h, false) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, dialWithin)
	there, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	cancel()
	if err != nil {
		return
	}
	defer func() { _ = there.Close() }()
	// What ends one way ends the other too, and all ends with the network.
	ctx, cancel = context.WithCancel(n.ctx)
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		_ = there.Close()
	})
	defer stop()
	defer cancel()
	var both sync.WaitGroup
	for _, way := range []struct {
		from, to net.Conn
		back     bool
	}{{conn, there, false}, {there, conn, true}} {
		both.Go(func() {
			defer cancel()
			n.carry(ctx, way.from, way.to, func() (netns.Link, <-chan struct{}) { return n.link(pid, h, way.back) })
		})
	}
	both.Wait()
}

// whole waits until a link is not cut.
func (n *Network) whole(pid int, h *netns.Host, back bool) error {
	return uncut(n.ctx, func() (netns.Link, <-chan struct{}) { return n.link(pid, h, back) })
}

func uncut(ctx context.Context, link func() (netns.Link, <-chan struct{})) error {
	for {
		how, changed := link()
		if !how.Cut {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// late is something that is under way until its time.
type late struct {
	text []byte
	due  time.Time
}

// carry hands on what comes from one end to the other.
func (n *Network) carry(ctx context.Context, from io.Reader, to io.Writer, link func() (netns.Link, <-chan struct{})) {
	queue := make(chan late, underWay)
	n.running.Go(func() { send(ctx, queue, to, link) })
	defer close(queue)
	var free time.Time
	for {
		buf := make([]byte, chunkSize)
		size, err := from.Read(buf)
		if size > 0 {
			how, _ := link()
			free = later(free, how, size)
			select {
			case queue <- late{buf[:size], free}:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// later is when something arrives on a link, not before what was sent before it.
func later(free time.Time, how netns.Link, size int) time.Time {
	due := time.Now().Add(how.Delay)
	if how.Jitter > 0 {
		due = due.Add(rand.N(how.Jitter)) // #nosec G404 -- a test's faults
	}
	for again := resend; how.Loss > 0 && rand.Float64() < how.Loss && again < resend<<mostLost; again *= 2 { // #nosec G404 -- as above
		due = due.Add(again)
	}
	if due.Before(free) {
		due = free
	}
	if how.BytesPerSecond > 0 {
		due = due.Add(time.Duration(size) * time.Second / time.Duration(how.BytesPerSecond))
	}
	return due
}

// send writes what has come, each at its time and when the link is not cut.
func send(ctx context.Context, queue <-chan late, to io.Writer, link func() (netns.Link, <-chan struct{})) {
	for one := range queue {
		if wait := time.Until(one.due); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
		if uncut(ctx, link) != nil {
			continue // until the queue is closed
		}
		if _, err := to.Write(one.text); err != nil {
			continue
		}
	}
}
