package nemesis

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// disks are faults of a node's disk.
var disks = []Fault{
	{Name: "fsync-stall", Group: "disk", needs: "strace", do: func(ctx context.Context, s *Scene) error {
		return s.inject(ctx, "fsync,fdatasync", fmt.Sprintf("delay_enter=%d", s.between(50*time.Millisecond, 3*time.Second).Microseconds()))
	}},
	{Name: "fsync-error", Group: "disk", needs: "strace", do: func(ctx context.Context, s *Scene) error {
		return s.inject(ctx, "fsync,fdatasync", fmt.Sprintf("error=EIO:when=%d+", 1+s.rng.IntN(20)))
	}},
	{Name: "disk-full", Group: "disk", needs: "strace", do: func(ctx context.Context, s *Scene) error {
		return s.inject(ctx, "pwrite64,fallocate,ftruncate", fmt.Sprintf("error=ENOSPC:when=%d+", 1+s.rng.IntN(20)))
	}},
}

// inject has strace put itself between a node and some calls of the kernel. A log
// is written with pwrite64, which no connection is.
func (s *Scene) inject(ctx context.Context, calls, what string) error {
	i, err := s.any()
	if err != nil {
		return err
	}
	s.MayEnd(i) // a node that cannot make durable what it has said ends
	pid := strconv.Itoa(s.Nodes[i].Pid())
	// strace lets go of the process when it is told to end.
	cmd := exec.CommandContext(ctx, "strace", "-f", "-qq", "-o", os.DevNull, "-p", pid, "-e", "trace="+calls, "-e", "inject="+calls+":"+what) // #nosec G204 -- arguments of ours
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return err
	}
	wait(ctx, s.hold)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait() // it ends by a signal, or with the node
	return nil
}
