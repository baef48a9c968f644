package server_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
