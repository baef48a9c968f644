//go:build !linux

package system

import "errors"

var errNoInfo = errors.New("system: not told on this platform")

func uptime() int64                { return 0 }
func cpuInfo() (any, error)        { return nil, errNoInfo }
func cpuTimes() (any, error)       { return nil, errNoInfo }
func memoryInfo() (any, error)     { return nil, errNoInfo }
func diskInfo(string) (any, error) { return nil, errNoInfo }
