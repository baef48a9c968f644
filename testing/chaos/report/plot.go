package report

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// Sizes of the plot, in pixels: rates above, times of answers below, and the
// faults between.
const (
	width     = 1100.0
	left      = 70.0
	right     = 20.0
	rateTop   = 40.0
	rateSize  = 180.0
	faultSize = 12.0
	timesSize = 140.0
	legend    = 30.0
)

// Plot shows availability, faults, and times of answers over time, as SVG.
func (r *Report) Plot(ops []history.Op) string {
	list := seconds(ops)
	most, span := 1, max(1, len(list))
	for _, s := range list {
		most = max(most, s.done+s.failed+s.unknown)
	}
	lanes := r.lanes()
	faultsTop := rateTop + rateSize + 10
	timesTop := faultsTop + float64(len(lanes))*faultSize + 20
	height := timesTop + timesSize + legend
	x := func(seconds float64) float64 { return left + seconds/float64(span)*(width-left-right) }
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" font-family=\"sans-serif\" font-size=\"10\">\n"+
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"10\" y=\"18\" font-size=\"14\">seed %d, %d nodes: %d faults, %d violations</text>\n"+
		"<text x=\"10\" y=\"32\">operations a second: <tspan fill=\"#009e73\">answered</tspan>, <tspan fill=\"#d55e00\">failed</tspan>, <tspan fill=\"#cc79a7\">in doubt</tspan> (most: %d)</text>\n",
		width, height, r.Seed, r.Nodes, len(r.Faults), len(r.Violations), most)
	step := x(1) - x(0)
	for i, s := range list {
		base := rateTop + rateSize
		for _, part := range []struct {
			n      int
			colour string
		}{{s.done, "#009e73"}, {s.failed, "#d55e00"}, {s.unknown, "#cc79a7"}} {
			h := float64(part.n) / float64(most) * rateSize
			base -= h
			if part.n > 0 {
				fmt.Fprintf(&b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"%s\"/>\n", x(float64(i)), base, step, h, part.colour)
			}
		}
		// A logarithmic axis from a tenth of a millisecond to ten seconds.
		p99 := max(1e-4, s.p99().Seconds())
		h := (math.Log10(p99) + 4) / 5 * timesSize
		fmt.Fprintf(&b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"#0072b2\"/>\n", x(float64(i)), timesTop+timesSize-h, step, h)
	}
	for i, name := range lanes {
		y := faultsTop + float64(i)*faultSize
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" font-size=\"8\">%s</text>\n", left-4, y+8, html.EscapeString(name))
		for _, f := range r.Faults {
			if f.Name == name {
				from, to := x(time.Duration(f.From).Seconds()), x(time.Duration(f.To).Seconds())
				fmt.Fprintf(&b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"8\" fill=\"#e69f00\"/>\n", from, y, max(1, to-from))
			}
		}
	}
	for e, label := range []string{"0.1ms", "1ms", "10ms", "100ms", "1s", "10s"} {
		y := timesTop + timesSize - float64(e)/5*timesSize
		fmt.Fprintf(&b, "<line x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ccc\"/><text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			left, width-right, y, y, left-4, y+3, label)
	}
	fmt.Fprintf(&b, "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\">p99 of the answers of each second, over %d seconds</text>\n</svg>\n", width/2, height-10, span)
	return b.String()
}

// lanes are the names of faults, in the order in which they first came.
func (r *Report) lanes() (names []string) {
	seen := make(map[string]bool)
	for _, f := range r.Faults {
		if !seen[f.Name] {
			seen[f.Name] = true
			names = append(names, f.Name)
		}
	}
	return names
}
