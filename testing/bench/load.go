package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// outcome is what one round of load came to.
type outcome struct {
	rate           float64 // answers a second
	p50, p99, most time.Duration
}

// worker does one operation after the other on a connection of its own.
type worker interface {
	do(n int) error
	close()
}

// load runs workers for a while and counts what they get done.
func load(workers []worker, d time.Duration) (outcome, error) {
	var wg sync.WaitGroup
	var stop atomic.Bool
	took := make([][]time.Duration, len(workers))
	errs := make([]error, len(workers))
	start := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	for i, w := range workers {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				begun := time.Now()
				if errs[i] = w.do(n); errs[i] != nil {
					return
				}
				took[i] = append(took[i], time.Since(begun))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	all := slices.Concat(took...)
	if err := errors.Join(errs...); err != nil || len(all) == 0 {
		return outcome{}, fmt.Errorf("load: %d done, then: %w", len(all), err)
	}
	slices.Sort(all)
	return outcome{
		rate: float64(len(all)) / elapsed.Seconds(),
		p50:  all[len(all)/2], p99: all[len(all)*99/100], most: all[len(all)-1],
	}, nil
}

// conn is one connection that sends requests made beforehand. It parses no
// more of an answer than it must, so that the generator costs little beside the
// server that it measures on the same cores.
type conn struct {
	conn   net.Conn
	reader *bufio.Reader
	// request gives the bytes of the n-th request.
	request func(n int) []byte
	want    int
}

func dial(ctx context.Context, addr string, want int, request func(n int) []byte) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{conn: c, reader: bufio.NewReaderSize(c, 16<<10), request: request, want: want}, nil
}

func (c *conn) close() { _ = c.conn.Close() }

func (c *conn) do(n int) error {
	if _, err := c.conn.Write(c.request(n)); err != nil {
		return err
	}
	status, body, err := c.answer()
	if err != nil {
		return err
	}
	if status != c.want {
		return fmt.Errorf("status %d, want %d: %.200s", status, c.want, body)
	}
	return nil
}

// answer reads one HTTP/1.1 answer with a Content-Length.
func (c *conn) answer() (status int, body []byte, err error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, textproto.ProtocolError("short status line")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, err
	}
	length := 0
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok && bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, err
			}
		}
	}
	if status != c.want {
		body = make([]byte, length)
		_, err = io.ReadFull(c.reader, body)
		return status, body, err
	}
	_, err = c.reader.Discard(length)
	return status, nil, err
}

// message makes the bytes of a request.
func message(method, path, token, body string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: bench\r\n", method, path)
	if token != "" {
		fmt.Fprintf(&b, "X-Vault-Token: %s\r\n", token)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// clients opens connections whose requests request gives.
func clients(ctx context.Context, addr string, conns, want int, request func(conn, n int) []byte) ([]worker, func(), error) {
	var list []worker
	closeAll := func() {
		for _, w := range list {
			w.close()
		}
	}
	for i := range conns {
		c, err := dial(ctx, addr, want, func(n int) []byte { return request(i, n) })
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		list = append(list, c)
	}
	return list, closeAll, nil
}
