package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The nodes die with whoever started them, and take their folders along.
func TestDevClusterThatIsKilled(t *testing.T) {
	p := run(t, "Ctrl-C stops", "dev", "-listen-address="+freeAddress(t))
	nodes := make(map[int]int) // process to file descriptor
	for _, node := range childrenOf(t, p.cmd.Process.Pid) {
		fd, err := unix.PidfdOpen(node, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		nodes[node] = fd
	}
	if len(nodes) != 3 {
		t.Fatalf("%d nodes were started", len(nodes))
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for node, fd := range nodes {
		awaitEnd(t, node, fd)
	}
	wantEmpty(t, p.temp)
}

func awaitEnd(t *testing.T, node, fd int) {
	t.Helper()
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(ended, int(processTimeout.Milliseconds()))
	for err == unix.EINTR {
		n, err = unix.Poll(ended, int(processTimeout.Milliseconds()))
	}
	if n != 1 || err != nil {
		_ = unix.Kill(node, unix.SIGKILL)
		t.Errorf("a node lives on: %v", err)
	}
}

// childrenOf finds the children of a process.
func childrenOf(t *testing.T, parent int) (children []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid …
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == fmt.Sprint(parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			children = append(children, pid)
		}
	}
	return children
}

// A node whose log cannot be written cannot go on: the process ends by itself, with
// a code that has whoever supervises it start another, and acknowledges nothing more.
func TestNodeThatCannotGoOn(t *testing.T) {
	p := run(t, "Development mode should NOT", "server", "-dev", "-dev-root-token-id=r00t", "-dev-listen-address=127.0.0.1:0")
	address := p.find(`export VAULT_ADDR='(http://127\.0\.0\.1:[0-9]+)'`)
	write := func() (status int) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address+"/v1/secret/data/a", strings.NewReader(`{"data":{"k":"c4nary"}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", "r00t")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0 // it is gone
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if status := write(); status != http.StatusOK {
		t.Fatalf("a write was answered with %d", status)
	}
	none := &unix.Rlimit{Cur: 0, Max: 0}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, none, nil); err != nil {
		t.Fatal(err)
	}
	if status := write(); status == http.StatusOK {
		t.Error("a write was acknowledged that cannot be on disk")
	}
	_ = p.wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.errs.String(), "the node cannot go on") {
		t.Errorf("it ended with code %d:\n%s", code, p.errs.String())
	}
	if strings.Contains(p.errs.String(), "c4nary") {
		t.Error("it tells what it could not write")
	}
}
