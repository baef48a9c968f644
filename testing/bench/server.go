package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/coffer-secrets/coffer/testing/daemon"
)

const (
	rootToken = "bench-root-token" // #nosec G101 -- of a server that holds nothing and lives for the run
	startTime = 30 * time.Second
)

// target is a server under load.
type target struct {
	name  string
	token string
	// tls is nil for a server without.
	tls  *tls.Config
	addr string
	// nodes are the addresses of all nodes of a cluster, the leader's first.
	nodes []string
	pid   int
	stop  func()
	// mount is how the mounts of this run begin; mounted are those that are there,
	// and undo their paths.
	mount string
	// names is how many a list has.
	names   int
	mounted map[string]bool
	undo    []string
}

// node is the address of one.
func (t *target) node(i int) string {
	if i < len(t.nodes) {
		return t.nodes[i]
	}
	return t.addr
}

// startServer starts as many nodes as are asked for.
func startServer(ctx context.Context, o options) (*target, error) {
	if o.nodes == 1 {
		return startDev(ctx, o.binary)
	}
	at, err := daemon.FreeAddress() //nolint:contextcheck // for a moment only
	if err != nil {
		return nil, err
	}
	t, err := start(ctx, "Try, in another terminal", o.binary, "dev", fmt.Sprintf("-nodes=%d", o.nodes), "-root-token-id="+rootToken, "-listen-address="+at)
	if err != nil {
		return nil, err
	}
	if len(t.nodes) != o.nodes {
		t.stop()
		return nil, fmt.Errorf("%d nodes are there, not %d", len(t.nodes), o.nodes)
	}
	return t, nil
}

// startDev starts a dev server on a port of its own.
func startDev(ctx context.Context, binary string, more ...string) (*target, error) {
	return start(ctx, "Root Token:", binary, append([]string{
		"server", "-dev", "-dev-no-store-token", "-log-level=error",
		"-dev-root-token-id=" + rootToken, "-dev-listen-address=127.0.0.1:0",
	}, more...)...)
}

// nodeLine is how "coffer dev" names a node.
var nodeLine = regexp.MustCompile(`^ +node-[0-9]+ +http://([0-9.:]+),`)

var listening = regexp.MustCompile(`Listener 1: tcp \(addr: "([^"]+)"`)

// start starts a server and waits until it says so with a line that begins with
// ready.
func start(ctx context.Context, ready, binary string, args ...string) (*target, error) {
	cmd := exec.CommandContext(ctx, binary, args...) // #nosec G204 -- the binary to measure
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	told := make(chan []string, 1)
	go func() {
		defer close(told)
		var at []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			for _, line := range []*regexp.Regexp{listening, nodeLine} {
				if found := line.FindStringSubmatch(lines.Text()); found != nil {
					at = append(at, found[1])
				}
			}
			if strings.HasPrefix(lines.Text(), ready) {
				told <- at
			}
		}
	}()
	select {
	case at := <-told:
		if len(at) > 0 {
			return &target{name: "coffer", token: rootToken, addr: at[0], nodes: at, pid: cmd.Process.Pid, stop: stop, mounted: make(map[string]bool)}, nil
		}
	case <-time.After(startTime):
	}
	stop()
	return nil, errors.New("the server did not start")
}
