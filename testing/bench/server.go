package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	rootToken = "bench-root-token" // #nosec G101 -- of a server that holds nothing and lives for the run
	startTime = 30 * time.Second
)

// target is a server process under load.
type target struct {
	addr string
	pid  int
	stop func()
}

// startDev starts a dev server on a port of its own.
func startDev(ctx context.Context, binary string) (*target, error) {
	return start(ctx, "Root Token:", binary, "server", "-dev", "-dev-no-store-token", "-log-level=error",
		"-dev-root-token-id="+rootToken, "-dev-listen-address=127.0.0.1:0")
}

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
	addr := make(chan string, 1)
	go func() {
		defer close(addr)
		at := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if found := listening.FindStringSubmatch(lines.Text()); found != nil {
				at = found[1]
			}
			if strings.HasPrefix(lines.Text(), ready) {
				addr <- at
			}
		}
	}()
	select {
	case at := <-addr:
		if at != "" {
			return &target{addr: at, pid: cmd.Process.Pid, stop: stop}, nil
		}
	case <-time.After(startTime):
	}
	stop()
	return nil, errors.New("the server did not start")
}
