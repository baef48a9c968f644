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

// The node dies with whoever started it, and takes its folder along.
func TestDevClusterThatIsKilled(t *testing.T) {
	p := run(t, "Ctrl-C stops", "dev", "-listen-address="+freeAddress(t))
	node := childOf(t, p.cmd.Process.Pid)
	fd, err := unix.PidfdOpen(node, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(ended, int(processTimeout.Milliseconds()))
	for err == unix.EINTR {
		n, err = unix.Poll(ended, int(processTimeout.Milliseconds()))
	}
	if n != 1 || err != nil {
		_ = unix.Kill(node, unix.SIGKILL)
		t.Fatalf("the node lives on: %v", err)
	}
	wantEmpty(t, p.temp)
}

// childOf finds the one child of a process.
func childOf(t *testing.T, parent int) int {
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
			return pid
		}
	}
	t.Fatalf("process %d has no child", parent)
	return 0
}
