package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
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
	stop func()
}

// startServer starts a dev server on a port of its own and waits until it says
// that it serves.
func startServer(binary string, args ...string) (*target, error) {
	cmd := exec.Command(binary, append([]string{"server", "-dev", "-dev-no-store-token", "-log-level=error", // #nosec G204 -- the binary to measure
		"-dev-root-token-id=" + rootToken, "-dev-listen-address=127.0.0.1:0"}, args...)...)
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
	ready := make(chan string, 1)
	go func() {
		defer close(ready)
		addr := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, after, ok := strings.Cut(lines.Text(), "Api Address: http://"); ok {
				addr = strings.TrimSpace(after)
			}
			if strings.HasPrefix(lines.Text(), "Root Token:") {
				ready <- addr
			}
		}
	}()
	select {
	case addr := <-ready:
		if addr != "" {
			return &target{addr: addr, stop: stop}, nil
		}
	case <-time.After(startTime):
	}
	stop()
	return nil, errors.New("the server did not start")
}
