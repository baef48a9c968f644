package daemon_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/daemon"
)

// listenEnv has this binary be a server that listens there, instead of a test.
const listenEnv = "DAEMON_TEST_LISTEN"

func TestMain(m *testing.M) {
	at := os.Getenv(listenEnv)
	if at == "" {
		os.Exit(m.Run())
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", at)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		_ = conn.Close()
	}
}

func newDaemon(t *testing.T) *daemon.Daemon {
	t.Helper()
	d := &daemon.Daemon{Dir: t.TempDir()}
	d.Command = func(ctx context.Context, port int) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0]) // #nosec G204 -- this very binary
		cmd.Env = append(os.Environ(), listenEnv+"="+net.JoinHostPort(d.Host, fmt.Sprint(port)))
		return cmd
	}
	d.Ready = func(ctx context.Context) bool {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", d.Address())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// TestStaysWhereItIs: what was stopped serves at the same address again, and what is
// closed leaves nothing.
func TestStaysWhereItIs(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	at, pid := d.Address(), d.Pid()
	if err := d.Stop(); err != nil || d.Ready(t.Context()) || d.Pid() != 0 {
		t.Errorf("stopped with %v, it serves as %d", err, d.Pid())
	}
	if err := d.Resume(); err != nil || d.Address() != at || d.Pid() == pid {
		t.Errorf("resumed with %v at %s as %d, not as another at %s", err, d.Address(), d.Pid(), at)
	}
	if err := d.Close(); err != nil || d.Ready(t.Context()) {
		t.Errorf("closed with %v, it still serves", err)
	}
	if _, err := os.Stat(d.Dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}

// TestSaysWhyItEnds: a server that does not start is told of with what it says.
func TestSaysWhyItEnds(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	d.Host = "127.1.2.3"
	serve := d.Command
	d.Command = func(ctx context.Context, _ int) *exec.Cmd { return serve(ctx, 1<<16) }
	if err := d.Start(); err == nil || !strings.Contains(err.Error(), "invalid port") {
		t.Errorf("it starts at no port: %v", err)
	}
}
