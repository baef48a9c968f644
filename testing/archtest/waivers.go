package archtest

import (
	"fmt"
	"strconv"
	"strings"
)

// Waiver excuses one finding.
type Waiver struct {
	Rule, Where string
	// Size is how big it may be; 0 where nothing is measured.
	Size   int
	Reason string
}

// ParseWaivers reads a list of waivers: a line each, of rule, place, size and
// reason between bars. Lines that begin with # are comments.
func ParseWaivers(text string) ([]Waiver, error) {
	var waivers []Waiver
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.SplitN(line, "|", 4)
		if len(parts) != 4 {
			return nil, fmt.Errorf("line %d: want rule | place | size | reason", i+1)
		}
		for j := range parts {
			parts[j] = strings.TrimSpace(parts[j])
		}
		size, err := strconv.Atoi(parts[2])
		if err != nil || len(parts[3]) < 10 {
			return nil, fmt.Errorf("line %d: want a size (0 if nothing is measured) and a reason", i+1)
		}
		waivers = append(waivers, Waiver{Rule: parts[0], Where: parts[1], Size: size, Reason: parts[3]})
	}
	return waivers, nil
}

// Apply returns the findings that nothing excuses, and what is wrong with the
// waivers: those that excuse nothing, or more than there is.
func Apply(findings []Finding, waivers []Waiver) (left []Finding, stale []string) {
	used := make([]bool, len(waivers))
	for _, f := range findings {
		excused := false
		for i, w := range waivers {
			if w.Rule != f.Rule || w.Where != f.Where || f.Size > w.Size {
				continue
			}
			excused, used[i] = true, true
			if f.Size < w.Size {
				stale = append(stale, fmt.Sprintf("%s of %s is down to %d: lower its waiver", w.Rule, w.Where, f.Size))
			}
		}
		if !excused {
			left = append(left, f)
		}
	}
	for i, w := range waivers {
		if !used[i] {
			stale = append(stale, fmt.Sprintf("%s of %s needs no waiver, or a smaller one no longer covers it", w.Rule, w.Where))
		}
	}
	return left, stale
}
