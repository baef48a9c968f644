package redisserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Admin may do everything, and Password is its password at first.
const (
	Admin    = "vault-admin"
	Password = "first'password\\1"
)

// startTimeout bounds how long a server may take to be there.
const startTimeout = 20 * time.Second

// Server is one Redis.
type Server struct {
	dir    string
	daemon string
	port   int
	cmd    *exec.Cmd
	// done is closed when the process has ended, as ended says.
	done  chan struct{}
	ended error
}

// Start starts a server on a file of users.
func Start() (*Server, error) {
	daemon, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("these tests need Redis, and find no redis-server: install it (Debian: apt-get install redis-server)")
	}
	s := &Server{daemon: daemon}
	if s.dir, err = os.MkdirTemp("", "redisserver"); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(Password))
	users := "user default off\nuser " + Admin + " on #" + hex.EncodeToString(sum[:]) + " ~* &* +@all\n"
	if err := os.WriteFile(s.file("users.acl"), []byte(users), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	// Somebody else may take the port first.
	for range 5 {
		if err = s.Resume(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// Resume starts the server, again if it was stopped, and waits until it answers.
func (s *Server) Resume() error {
	if s.port == 0 {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.port = l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	said := new(strings.Builder)
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), s.daemon, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", //nolint:gosec // Redis' own
		"--dir", s.dir, "--save", "", "--appendonly", "no", "--aclfile", s.file("users.acl"), "--daemonize", "no")
	s.cmd.Dir = s.dir
	s.cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Stdout = said
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.ended = s.cmd.Wait()
	}()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			s.cmd, s.port = nil, 0
			return fmt.Errorf("redis-server ended: %w: %s", s.ended, said.String())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.Stop())
		case <-ticker.C:
			if s.answers(ctx) {
				return nil
			}
		}
	}
}

// answers reports whether the server wants a password, as it does once it is
// ready.
func (s *Server) answers(ctx context.Context) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply := make([]byte, 64)
	n, _ := conn.Read(reply)
	return strings.HasPrefix(string(reply[:n]), "-NOAUTH")
}

// Stop ends the server at once, as a crash would. Its file of users stays.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	<-s.done
	s.cmd = nil
	return nil
}

// Close stops the server and removes its folder.
func (s *Server) Close() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

// Port is where the server listens, on the host 127.0.0.1.
func (s *Server) Port() int { return s.port }
