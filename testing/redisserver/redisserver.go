package redisserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/coffer-secrets/coffer/testing/daemon"
)

// Admin may do everything, and Password is its password at first.
const (
	Admin    = "vault-admin"
	Password = "first'password\\1"
)

// Server is one Redis.
type Server struct {
	*daemon.Daemon
	dir    string
	binary string
}

// Start starts a server on a file of users.
func Start() (*Server, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("these tests need Redis, and find no redis-server: install it (Debian: apt-get install redis-server)")
	}
	s := &Server{binary: binary}
	if s.dir, err = os.MkdirTemp("", "redisserver"); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(Password))
	users := "user default off\nuser " + Admin + " on #" + hex.EncodeToString(sum[:]) + " ~* &* +@all\n"
	if err := os.WriteFile(s.file("users.acl"), []byte(users), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	s.Daemon = &daemon.Daemon{Dir: s.dir, Command: s.serve, Ready: s.answers}
	return s, s.Start()
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// serve is the command that is the server.
func (s *Server) serve(ctx context.Context, port int) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.binary, "--port", strconv.Itoa(port), "--bind", s.Host, //nolint:gosec // Redis' own
		"--dir", s.dir, "--save", "", "--appendonly", "no", "--aclfile", s.file("users.acl"), "--daemonize", "no")
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// answers reports whether the server wants a password, as it does once it is
// ready.
func (s *Server) answers(ctx context.Context) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address())
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
