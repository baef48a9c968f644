package rig

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	auditFile     = "audit.log"
	blockedDevice = "sys/audit/blocked"
	// window is how much a sink that reads nothing still takes.
	window = 4 << 10
	// auditWithin bounds a change of the devices.
	auditWithin = 3 * time.Second
	// unblockWithin is how long that may take at the end of a round: it needs a
	// leader, which is looked for with more care elsewhere.
	unblockWithin = 30 * time.Second
)

// enableAudit gives every node a file with a record of all requests.
func (r *Rig) enableAudit() {
	r.Nodes[0].Root(http.MethodPut, "sys/audit/file", map[string]any{"type": "file", "options": map[string]string{"file_path": auditFile}})
}

// BlockAudit makes an audit device at a sink that never reads what it is sent.
func (r *Rig) BlockAudit(ctx context.Context) (undo func(), err error) {
	host := "127.0.0.1"
	if r.Outside != nil {
		host = r.Outside.Addr.String()
	}
	sink, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	var taking sync.WaitGroup
	taking.Go(func() { take(sink) })
	ask := func(ctx context.Context, method string, body any) error {
		ctx, cancel := context.WithTimeout(ctx, auditWithin)
		defer cancel()
		at := max(0, r.Leader())
		return r.Ask(ctx, at, method, blockedDevice, body, nil)
	}
	undo = func() {
		// Heal sees to it if nobody leads now.
		_ = ask(context.Background(), http.MethodDelete, nil)
		_ = sink.Close()
		taking.Wait()
	}
	err = ask(ctx, http.MethodPut, map[string]any{"type": "socket", "options": map[string]string{"address": sink.Addr().String()}})
	if err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}

// take keeps connections that nobody reads from, until the sink is closed.
func take(sink net.Listener) {
	var held []net.Conn
	for {
		conn, err := sink.Accept()
		if err != nil {
			break
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(window)
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
}

// UnblockAudit removes the device that a fault may have left.
func (r *Rig) UnblockAudit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, unblockWithin)
	defer cancel()
	return until(ctx, func(ctx context.Context) error {
		return r.Ask(ctx, max(0, r.Leader()), http.MethodDelete, blockedDevice, nil, nil)
	})
}
