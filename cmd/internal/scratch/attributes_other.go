//go:build !linux

package scratch

import "syscall"

// attributes are those of any process: elsewhere than on Linux, PostgreSQL is
// started only by those that it takes as they are.
func attributes(*identity) *syscall.SysProcAttr { return nil }
