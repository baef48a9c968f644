package scratch

import "syscall"

// attributes are those of a process that is not sent the terminal's Ctrl-C, and
// that ends with this one.
func attributes(as *identity) *syscall.SysProcAttr {
	out := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if as != nil {
		out.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
	return out
}
