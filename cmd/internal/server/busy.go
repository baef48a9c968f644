package server

import (
	"errors"
	"fmt"
	"syscall"
)

// busy says which flag helps when an address is taken.
func busy(err error, flag string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: something else listens there; choose another address with %s", err, flag)
	}
	return err
}
