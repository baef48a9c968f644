package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of the times in /proc, for every system that Go runs on.
const tick = 10 * time.Millisecond

// processorTime is what a process and its children have used of processors; 0
// if that is not told. Other than a rate it does not depend on what else the
// machine is doing.
func processorTime(pid int) (total time.Duration) {
	if pid == 0 {
		return 0
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	for _, file := range files {
		text, err := os.ReadFile(file) // #nosec G304 -- of a process
		if err != nil {
			continue // it has ended
		}
		var own int
		if _, err := fmt.Sscan(filepath.Base(filepath.Dir(file)), &own); err != nil {
			continue
		}
		// What follows the name in brackets, which may hold anything: the state, the
		// parent, and as the 12th and 13th the times (proc(5)).
		_, rest, _ := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(" "))
		fields := bytes.Fields(rest)
		if len(fields) < 13 || own != pid && string(fields[1]) != strconv.Itoa(pid) {
			continue
		}
		for _, field := range fields[11:13] {
			if n, err := strconv.ParseInt(string(field), 10, 64); err == nil {
				total += time.Duration(n) * tick
			}
		}
	}
	return total
}
