package wire

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Wire listens on a port of its own, and connects whoever comes with a target.
type Wire struct {
	listener net.Listener
	target   func() string
	ctx      context.Context //nolint:containedctx // ends what the wire has begun
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu sync.Mutex
	// whole is closed while the wire is whole.
	whole chan struct{}
	cut   bool
}

// New makes a wire to an address, which may change.
func New(target func() string) (*Wire, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Wire{listener: l, target: target, whole: make(chan struct{})}
	close(w.whole)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.running.Go(w.accept)
	return w, nil
}

// Port is where the wire listens, on the host 127.0.0.1.
func (w *Wire) Port() int { return w.listener.Addr().(*net.TCPAddr).Port }

// Close ends all connections.
func (w *Wire) Close() error {
	w.cancel()
	err := w.listener.Close()
	w.running.Wait()
	return err
}

// Cut cuts the wire or mends it.
func (w *Wire) Cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case cut && !w.cut:
		w.whole = make(chan struct{})
	case !cut && w.cut:
		close(w.whole)
	}
	w.cut = cut
}

// wait returns once the wire is whole.
func (w *Wire) wait() error {
	w.mu.Lock()
	whole := w.whole
	w.mu.Unlock()
	select {
	case <-whole:
		return nil
	case <-w.ctx.Done():
		return errors.New("closed")
	}
}

func (w *Wire) accept() {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.running.Go(func() { w.connect(conn) })
	}
}

func (w *Wire) connect(from net.Conn) {
	defer func() { _ = from.Close() }()
	if w.wait() != nil {
		return
	}
	to, err := new(net.Dialer).DialContext(w.ctx, "tcp", w.target())
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	stop := context.AfterFunc(w.ctx, func() { _, _ = from.Close(), to.Close() })
	defer stop()
	back := make(chan struct{})
	go func() {
		defer close(back)
		w.carry(from, to)
		_ = from.Close()
	}()
	w.carry(to, from)
	_ = to.Close()
	<-back
}

// carry carries what comes from one side to the other, until that has hung up
// and all of it is there.
func (w *Wire) carry(to, from net.Conn) {
	part := make([]byte, 32<<10)
	for {
		n, err := from.Read(part)
		if w.wait() != nil {
			return
		}
		if n > 0 {
			if _, err := to.Write(part[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
