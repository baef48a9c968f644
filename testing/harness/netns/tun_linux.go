package netns

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openTUN makes a device that carries IP packets. It is gone when the file is
// closed, also after it was moved to another namespace.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("netns: open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netns: make the device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), "tun "+name), nil
}

// lock keeps others from choosing addresses meanwhile. Its file lies where the names
// of namespaces do, which Main may have put a folder of its own over.
func lock() (unlock func(), err error) {
	f, err := os.OpenFile("/run/coffer-netns.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
