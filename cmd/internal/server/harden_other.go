//go:build !linux

package server

import (
	"syscall"
	"time"
)

func harden() error { return nil }

func privateUmask() (restore func()) { return func() {} }

// monotonic is only asked for by service managers of Linux.
func monotonic() time.Duration { return 0 }

func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
