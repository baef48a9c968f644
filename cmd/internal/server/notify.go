package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// What a service manager is told (sd_notify(3)).
const (
	notifyReady    = "READY=1\nSTATUS=serving"
	notifyStopping = "STOPPING=1"
)

// notify tells the service manager, if there is one, about the process.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] != '/' && path[0] != '@' {
		return errors.New("NOTIFY_SOCKET is not the path of a socket")
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	_, err = conn.Write([]byte(state))
	return errors.Join(err, conn.Close())
}

// notifyReloading has to carry the monotonic time, by which the manager knows
// which reload it is told of.
func notifyReloading() string {
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic()/time.Microsecond)
}
