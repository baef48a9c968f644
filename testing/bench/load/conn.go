package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
)

// maxBody bounds an answer that is kept.
const maxBody = 64 << 20

// StatusError is an answer of another status than was asked for.
type StatusError struct {
	Status int
	Body   []byte
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %.200s", e.Status, e.Body) }

// Message makes the bytes of a request.
func Message(method, path, token, body string) []byte {
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

// Conn is one connection over HTTP/1.1 that stays.
type Conn struct {
	conn   net.Conn
	reader *bufio.Reader
	body   []byte
}

// Dial connects; over TLS unless cfg is nil.
func Dial(ctx context.Context, addr string, cfg *tls.Config) (*Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if cfg != nil {
		cfg = cfg.Clone()
		if cfg.ServerName == "" {
			cfg.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(c, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		c = secure
	}
	return &Conn{conn: c, reader: bufio.NewReaderSize(c, 16<<10)}, nil
}

// Close ends the connection.
func (c *Conn) Close() { _ = c.conn.Close() }

// Do sends a request and throws its answer away, which must be of a status 2xx,
// or of want if that is not 0.
func (c *Conn) Do(request []byte, want int) error {
	status, body, err := c.exchange(request, func(status int) bool { return !wanted(status, want) })
	if err == nil && !wanted(status, want) {
		err = &StatusError{status, bytes.Clone(body)}
	}
	return err
}

// Ask sends a request and returns its answer, which is good until the next.
func (c *Conn) Ask(request []byte) (status int, body []byte, err error) {
	return c.exchange(request, func(int) bool { return true })
}

func wanted(status, want int) bool { return status == want || want == 0 && status/100 == 2 }

func (c *Conn) exchange(request []byte, keep func(status int) bool) (status int, body []byte, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, nil, err
	}
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
	length, err := c.headers()
	if err != nil {
		return 0, nil, err
	}
	if length >= 0 {
		body, err = c.take(length, keep(status))
	} else {
		body, err = c.chunks(keep(status))
	}
	return status, body, err
}

// headers reads to their end, and returns the length of the body, or -1 if it
// comes in chunks.
func (c *Conn) headers() (length int, err error) {
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			return length, nil
		}
		name, value, ok := bytes.Cut(line, []byte(": "))
		switch {
		case !ok:
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 {
				return 0, textproto.ProtocolError("bad content-length")
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			length = -1
		}
	}
}

func (c *Conn) take(length int, keep bool) ([]byte, error) {
	if !keep {
		_, err := c.reader.Discard(length)
		return nil, err
	}
	if length > maxBody {
		return nil, textproto.ProtocolError("the answer is too large")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err := io.ReadFull(c.reader, c.body)
	return c.body, err
}

func (c *Conn) chunks(keep bool) (body []byte, err error) {
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(line)), 16, 32)
		if err != nil || size < 0 {
			return nil, textproto.ProtocolError("bad chunk")
		}
		part, err := c.take(int(size), keep)
		if err != nil {
			return nil, err
		}
		if len(body)+len(part) > maxBody {
			return nil, textproto.ProtocolError("the answer is too large")
		}
		body = append(body, part...)
		if _, err := c.reader.Discard(len("\r\n")); err != nil || size == 0 {
			return body, err
		}
	}
}
