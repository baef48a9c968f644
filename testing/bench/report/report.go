package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Line is what one target did with one kind of work.
type Line struct {
	Work   string `json:"work"`
	Target string `json:"target"`
	Conns  int    `json:"connections"`
	// Rate is that of the median round, in successes a second; Lowest and
	// Highest are those of other rounds.
	Rate    float64 `json:"rate"`
	Lowest  float64 `json:"lowest"`
	Highest float64 `json:"highest"`
	Times
	Errors int `json:"errors"`
	// Late are operations at a fixed rate that had not begun by the end.
	Late int `json:"late,omitempty"`
	// Error is one of the errors.
	Error string `json:"error,omitempty"`
	// Floor is what bounds the work, and FloorRate what it did in the same run.
	// Ratio is the part of it that the target reached, and Goal what it should.
	Floor     string  `json:"floor,omitempty"`
	FloorRate float64 `json:"floor_rate,omitempty"`
	FloorP50  float64 `json:"floor_p50,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`
	Goal      float64 `json:"goal,omitempty"`
	// ToFirst is the rate as a part of the first target's.
	ToFirst float64 `json:"to_first,omitempty"`
	// CPU is what the server used of processors for each success, in seconds, and
	// CPUToFirst that as a part of the first target's.
	CPU        float64 `json:"cpu,omitempty"`
	CPUToFirst float64 `json:"cpu_to_first,omitempty"`
}

// Times are how long what succeeded took, in seconds.
type Times struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// Left is work that a target cannot do.
type Left struct {
	Work   string `json:"work"`
	Target string `json:"target"`
	Why    string `json:"why"`
}

// Report is one run.
type Report struct {
	Begun    time.Time     `json:"begun"`
	CPUs     int           `json:"cpus"`
	Go       string        `json:"go"`
	System   string        `json:"system"`
	Nodes    int           `json:"nodes"`
	Rounds   int           `json:"rounds"`
	Round    time.Duration `json:"round_ns"`
	OpenRate float64       `json:"open_loop_rate,omitempty"`
	Targets  []string      `json:"targets"`
	Lines    []Line        `json:"lines"`
	Left     []Left        `json:"left_out,omitempty"`
}

// JSON writes the report.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// Head writes the head of the table.
func (r *Report) Head(w io.Writer) error {
	loop := "closed loop"
	if r.OpenRate > 0 {
		loop = fmt.Sprintf("open loop of %.0f a second", r.OpenRate)
	}
	_, err := fmt.Fprintf(w, "%d CPUs, %s, %s; nodes: %d; %d rounds of %s; %s\n"+
		"rates are medians of rounds, in successes a second, with the lowest and the highest; times are those of all rounds;\n"+
		"cpu is what the server used of processors for each, whatever else the machine was doing\n\n"+
		"%-26s %-16s %5s %9s %17s %8s %8s %8s %8s %8s %6s  %-20s %9s %6s %5s %6s %7s %6s\n",
		r.CPUs, r.Go, r.System, r.Nodes, r.Rounds, r.Round, loop,
		"work", "target", "conns", "rate", "lowest..highest", "p50", "p90", "p99", "p99.9", "max", "errors", "floor", "its rate", "ratio", "goal", "to 1st", "cpu", "to 1st")
	return err
}

// Row writes one line of the table.
func (l *Line) Row(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%-26s %-16s %5d %9.0f %17s %8s %8s %8s %8s %8s %6d  %-20s %9s %6s %5s %6s %7s %6s\n",
		l.Work, l.Target, l.Conns, l.Rate, fmt.Sprintf("%.0f..%.0f", l.Lowest, l.Highest), short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.Max),
		l.Errors, l.Floor, some(l.FloorRate, 0), some(l.Ratio, 2), some(l.Goal, 2), some(l.ToFirst, 2), used(l.CPU), some(l.CPUToFirst, 2))
	return err
}

// Markdown writes the table as docs/performance.md has it.
func (r *Report) Markdown(w io.Writer) error {
	text := "| work | target | conns | rate | lowest–highest | p50 | p90 | p99 | p99.9 | max | errors | floor | its rate | ratio | goal | to first | CPU | to first |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
	for i := range r.Lines {
		l := &r.Lines[i]
		text += fmt.Sprintf("| %s | %s | %d | %.0f/s | %.0f–%.0f | %s | %s | %s | %s | %s | %d | %s | %s | %s | %s | %s | %s | %s |\n",
			l.Work, l.Target, l.Conns, l.Rate, l.Lowest, l.Highest, short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.Max),
			l.Errors, l.Floor, some(l.FloorRate, 0), some(l.Ratio, 2), some(l.Goal, 2), some(l.ToFirst, 2), used(l.CPU), some(l.CPUToFirst, 2))
	}
	_, err := io.WriteString(w, text)
	return err
}

func some(x float64, digits int) string {
	if x == 0 {
		return "–"
	}
	return strconv.FormatFloat(x, 'f', digits, 64)
}

func used(seconds float64) string {
	if seconds == 0 {
		return "–"
	}
	return short(seconds)
}

// short is a time with three digits.
func short(seconds float64) string {
	switch {
	case seconds >= 1:
		return strconv.FormatFloat(seconds, 'f', 2, 64) + "s"
	case seconds >= 0.1:
		return strconv.FormatFloat(seconds*1e3, 'f', 0, 64) + "ms"
	case seconds >= 0.01:
		return strconv.FormatFloat(seconds*1e3, 'f', 1, 64) + "ms"
	case seconds >= 0.001:
		return strconv.FormatFloat(seconds*1e3, 'f', 2, 64) + "ms"
	}
	return strconv.FormatFloat(seconds*1e6, 'f', 0, 64) + "µs"
}
