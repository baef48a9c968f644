package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines/database"
)

// maxReply bounds the answer to a login.
const maxReply = 1 << 10

var errWrongPassword = errors.New("wrong password")

// dial opens a connection and logs in with whichever password is good.
func (s *server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	passwords := s.settings.Passwords
	if len(passwords) == 0 {
		return s.dialOne(ctx, "")
	}
	first := int(s.good.Load())
	var failed error
	for i := range passwords {
		n := (first + i) % len(passwords)
		conn, err := s.dialOne(ctx, passwords[n])
		if err == nil {
			s.good.Store(int64(n))
			return conn, nil
		}
		failed = err
		if !errors.Is(err, errWrongPassword) {
			return nil, err
		}
	}
	return nil, &database.Unreached{Text: "it refused the connection: " + failed.Error()}
}

func (s *server) dialOne(ctx context.Context, password string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, database.Unreachable(err)
	}
	if s.tls != nil {
		over := tls.Client(conn, s.tls)
		if err := over.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, database.Unreachable(err)
		}
		conn = over
	}
	if password == "" {
		return conn, nil
	}
	if err := s.login(ctx, conn, password); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// login sends a user and a password.
func (s *server) login(ctx context.Context, conn net.Conn, password string) error {
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	words := []string{"AUTH", s.user(), password}
	if s.settings.Username == "" { // as a Redis older than its users wants it
		words = []string{"AUTH", password}
	}
	command := fmt.Sprintf("*%d\r\n", len(words))
	for _, word := range words {
		command += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := conn.Write([]byte(command)); err != nil {
		return &database.Unreached{Text: "the connection to it broke"}
	}
	reply, err := readLine(conn)
	switch {
	case err != nil:
		return &database.Unreached{Text: "it does not answer to a login"}
	case reply == "+OK":
		_ = conn.SetDeadline(time.Time{})
		return nil
	case strings.HasPrefix(reply, "-WRONGPASS"):
		return fmt.Errorf("%w (%s)", errWrongPassword, reply[1:])
	}
	return &database.Unreached{Text: "it refused the connection: " + strings.ReplaceAll(strings.TrimPrefix(reply, "-"), password, "[password]")}
}

// readLine reads no more than one line.
func readLine(conn net.Conn) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < maxReply {
		if _, err := conn.Read(one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, one[0])
	}
	return "", errors.New("it answers at great length")
}
