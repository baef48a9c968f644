package main

import (
	"context"
	"errors"

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
	dial func() (*load.Conn, error)
}

// Do implements load.Worker. A connection that fails is made anew, and counts as
// an error; but not before the first operation of a round, since others were
// under load before, for longer than a server may let a connection idle.
func (c *caller) Do(n int) error {
	err := c.next(c.conn, c.i, n)
	var status *load.StatusError
	if err == nil || errors.As(err, &status) {
		return err
	}
	conn, again := c.dial()
	if again != nil {
		return errors.Join(err, again)
	}
	c.conn.Close()
	if c.conn = conn; n == 0 {
		return c.next(c.conn, c.i, n)
	}
	return &load.StatusError{Body: []byte(err.Error())}
}

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
		dial := func() (*load.Conn, error) { return load.Dial(ctx, t.node(node), t.tls) }
		c, err := dial()
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		list = append(list, &caller{c, i, s, dial})
	}
	return list, closeAll, nil
}
