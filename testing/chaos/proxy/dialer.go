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

// dialer is the process at the other end of a connection within this machine; 0: it
// is not found, as one that has ended meanwhile.
func dialer(conn net.Conn) int {
	own, ok := conn.LocalAddr().(*net.TCPAddr)
	at, too := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !too {
		return 0
	}
	for range looks {
		if pid := holder(socket(at, own)); pid != 0 {
			return pid
		}
	}
	return 0
}

// holder is the process that has a socket open; 0: none.
func holder(inode string) int {
	if inode == "" || inode == "0" { // of one that has been closed
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

// socket is the number of the socket with an address that is connected to another:
// several may have one address.
func socket(at, to *net.TCPAddr) string {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 9 && fields[1] == hexadecimal(at) && fields[2] == hexadecimal(to) {
			return fields[9]
		}
	}
	return ""
}

// hexadecimal is an address as /proc/net/tcp has it: four bytes, the last first, and
// the port.
func hexadecimal(at *net.TCPAddr) string {
	ip := at.IP.To4()
	if ip == nil {
		return ""
	}
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], at.Port)
}
