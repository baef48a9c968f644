package proxy

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// looks is how often is looked for a socket: the kernel tells of them piece by
// piece, and passes over some when others come and go meanwhile.
const looks = 5

// dialer is the process whose socket has an address of this machine; 0: it is not
// found, as one that has ended meanwhile.
func dialer(addr net.Addr) int {
	at, ok := addr.(*net.TCPAddr)
	if !ok {
		return 0
	}
	for range looks {
		if pid := holder(socket(at)); pid != 0 {
			return pid
		}
	}
	return 0
}

// holder is the process that has a socket open; 0: none.
func holder(inode string) int {
	if inode == "" {
		return 0
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if name, err := os.Readlink(file); err == nil && name == "socket:["+inode+"]" {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return pid
		}
	}
	return 0
}

// socket is the number of the socket with an address, as /proc/net/tcp has it:
// four bytes of the address, the last first, and the port.
func socket(at *net.TCPAddr) string {
	ip := at.IP.To4()
	if ip == nil {
		return ""
	}
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], at.Port)
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 9 && fields[1] == local {
			return fields[9]
		}
	}
	return ""
}
