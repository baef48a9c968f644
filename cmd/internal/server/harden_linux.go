package server

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// harden keeps the keys in memory out of core files and out of the reach of
// other processes of the same user, and makes files private that are created
// without a mode.
func harden() error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid tracing: %w", err)
	}
	return nil
}

// privateUmask makes what is created next private, until it is restored. The
// umask is the whole process's.
func privateUmask() (restore func()) {
	old := unix.Umask(0o077)
	return func() { unix.Umask(old) }
}

// monotonic is the clock that the service manager goes by.
func monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// childAttributes make a process die with this one, and keep the terminal's
// Ctrl-C from it, so that it is stopped in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
