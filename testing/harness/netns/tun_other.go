//go:build !linux

package netns

import (
	"errors"
	"os"
)

func openTUN(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func lock() (unlock func(), err error) { return nil, errors.ErrUnsupported }
