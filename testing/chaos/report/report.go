package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/check"
	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// Span is a fault, from when to when on the history's clock.
type Span struct {
	Name     string `json:"name"`
	From, To int64
}

// Count is how many operations ended how.
type Count struct {
	Done    int `json:"done"`
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
	Unknown int `json:"unknown"`
}

// Report is about one run.
type Report struct {
	Seed     uint64        `json:"seed"`
	Nodes    int           `json:"nodes"`
	Duration time.Duration `json:"duration_ns"`
	// Network says what is between the nodes, Left which faults this machine
	// cannot have.
	Network string   `json:"network"`
	Left    []string `json:"left_out,omitempty"`
	// Captured is how many bytes between nodes were searched for secrets.
	Captured   int64             `json:"captured"`
	Faults     []Span            `json:"faults"`
	Operations map[string]*Count `json:"operations"`
	Violations []check.Violation `json:"violations"`
	// Heals are how long it took from the end of all faults until all nodes took
	// writes and had all that was written.
	Heals []time.Duration `json:"heals_ns"`
}

// Tally counts operations.
func (r *Report) Tally(ops []history.Op) {
	r.Operations = make(map[string]*Count)
	for _, op := range ops {
		c := r.Operations[op.Work]
		if c == nil {
			c = new(Count)
			r.Operations[op.Work] = c
		}
		switch op.Outcome {
		case history.Done:
			c.Done++
		case history.Refused:
			c.Refused++
		case history.Failed:
			c.Failed++
		case history.Unknown:
			c.Unknown++
		}
	}
}

// Found adds what must not have happened.
func (r *Report) Found(rule string, err error) {
	if err != nil {
		r.Violations = append(r.Violations, check.Violation{Rule: rule, Text: err.Error()})
	}
}

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nseed %d, %d nodes, %s, %s\n\nfaults: %d\n", r.Seed, r.Nodes, r.Duration.Round(time.Second), r.Network, len(r.Faults))
	counts := make(map[string]int)
	for _, f := range r.Faults {
		counts[f.Name]++
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "  %-20s %5d\n", name, counts[name])
	}
	for _, name := range r.Left {
		fmt.Fprintf(&b, "  %-20s not possible here\n", name)
	}
	fmt.Fprintf(&b, "\noperations:            done  refused   failed  unknown\n")
	for _, work := range slices.Sorted(maps.Keys(r.Operations)) {
		c := r.Operations[work]
		fmt.Fprintf(&b, "  %-16s %8d %8d %8d %8d\n", work, c.Done, c.Refused, c.Failed, c.Unknown)
	}
	if len(r.Heals) > 0 {
		sorted := slices.Sorted(slices.Values(r.Heals))
		fmt.Fprintf(&b, "\nhealed %d times, by which all nodes take writes: median %s, longest %s\n", len(sorted),
			sorted[len(sorted)/2].Round(time.Millisecond), sorted[len(sorted)-1].Round(time.Millisecond))
	}
	if r.Captured > 0 {
		fmt.Fprintf(&b, "\nsearched for secrets: the disks, the logs, and %d MB between nodes\n", r.Captured>>20)
	}
	fmt.Fprintf(&b, "\nviolations: %d\n", len(r.Violations))
	for i, v := range r.Violations {
		if i == shown {
			fmt.Fprintf(&b, "  and %d more\n", len(r.Violations)-shown)
			break
		}
		fmt.Fprintf(&b, "  %s\n", v)
	}
	return b.String()
}

// shown is how many violations the text has.
const shown = 20

// Save writes the report and its plot to a folder.
func (r *Report) Save(dir string, ops []history.Op) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), text, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "timeline.svg"), []byte(r.Plot(ops)), 0o600)
}

// second is what happened in one second.
type second struct {
	done, failed, unknown int
	times                 []int64
}

func (s *second) p99() time.Duration {
	if len(s.times) == 0 {
		return 0
	}
	slices.Sort(s.times)
	return time.Duration(s.times[(len(s.times)-1)*99/100])
}

// seconds divides operations by the second in which they ended.
func seconds(ops []history.Op) []second {
	if len(ops) == 0 {
		return nil
	}
	last := slices.MaxFunc(ops, func(a, b history.Op) int { return cmp.Compare(a.Return, b.Return) })
	list := make([]second, last.Return/int64(time.Second)+1)
	for _, op := range ops {
		s := &list[op.Return/int64(time.Second)]
		s.times = append(s.times, op.Return-op.Call)
		switch op.Outcome {
		case history.Done, history.Refused:
			s.done++
		case history.Failed:
			s.failed++
		case history.Unknown:
			s.unknown++
		}
	}
	return list
}
