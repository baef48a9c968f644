package main

import (
	"context"

	"github.com/coffer-secrets/coffer/testing/bench/load"
)

// script does the n-th operation of a connection.
type script func(c *load.Conn, conn, n int) error

// requests is a script of one request each, whose answer must be of a status
// 2xx.
func requests(request func(conn, n int) []byte) script {
	return func(c *load.Conn, conn, n int) error { return c.Do(request(conn, n), 0) }
}

// caller follows a script on a connection.
type caller struct {
	conn *load.Conn
	i    int
	next script
}

// Do implements load.Worker.
func (c *caller) Do(n int) error { return c.next(c.conn, c.i, n) }

// Close implements load.Worker.
func (c *caller) Close() { c.conn.Close() }

// callers connects to a node of a target.
func callers(ctx context.Context, t *target, node, conns int, s script) ([]load.Worker, func(), error) {
	var list []load.Worker
	closeAll := func() {
		for _, w := range list {
			w.Close()
		}
	}
	for i := range conns {
		c, err := load.Dial(ctx, t.node(node), t.tls)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		list = append(list, &caller{c, i, s})
	}
	return list, closeAll, nil
}
