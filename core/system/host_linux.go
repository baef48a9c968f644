package system

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// uptime is the machine's, in seconds; 0 if it does not tell.
func uptime() int64 {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	var seconds float64
	if _, err := fmt.Sscanf(string(text), "%f", &seconds); err != nil {
		return 0
	}
	return int64(seconds)
}

// procPairs reads a file of "name : value" lines, in groups parted by blanks.
func procPairs(path string) ([]map[string]string, error) {
	f, err := os.Open(path) // #nosec G304 -- a constant path
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	groups := []map[string]string{{}}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			groups = append(groups, map[string]string{})
			continue
		}
		groups[len(groups)-1][strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return groups, lines.Err()
}

func cpuInfo() (any, error) {
	groups, err := procPairs("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	for _, g := range groups {
		if id, ok := g["processor"]; ok {
			list = append(list, map[string]any{
				"cpu": number(id), "modelName": g["model name"], "vendorId": g["vendor_id"], "mhz": g["cpu MHz"], "cacheSize": g["cache size"],
			})
		}
	}
	return list, nil
}

// cpuTimes are in ticks of 10 ms since the machine started (proc(5), /proc/stat).
func cpuTimes() (any, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, err
	}
	names := []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guestNice"}
	list := []map[string]any{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "cpu") || fields[0] == "cpu" {
			continue
		}
		entry := map[string]any{"cpu": fields[0]}
		for i, name := range names {
			if i+1 < len(fields) {
				entry[name] = number(fields[i+1])
			}
		}
		list = append(list, entry)
	}
	return list, nil
}

func memoryInfo() (any, error) {
	groups, err := procPairs("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	const kib = 1024
	g := groups[0]
	value := func(name string) int64 { return number(strings.TrimSuffix(g[name], " kB")) * kib }
	return map[string]any{
		"total": value("MemTotal"), "available": value("MemAvailable"), "free": value("MemFree"),
		"buffers": value("Buffers"), "cached": value("Cached"), "swapTotal": value("SwapTotal"), "swapFree": value("SwapFree"),
	}, nil
}

func diskInfo(path string) (any, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return nil, err
	}
	size := uint64(s.Bsize) // #nosec G115 -- positive
	return []map[string]any{{
		"path": path, "total": s.Blocks * size, "free": s.Bavail * size, "used": (s.Blocks - s.Bfree) * size,
		"inodesTotal": s.Files, "inodesFree": s.Ffree,
	}}, nil
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
