package report

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sizes of a plot, in pixels.
const (
	plotWidth  = 900
	plotLeft   = 250
	plotRight  = 60
	plotTop    = 50
	plotBottom = 40
	barHeight  = 14
	groupSpace = 8
)

// colours are those of the targets, told apart by most eyes (Okabe and Ito).
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"}

// Plots writes two plots for each number of connections to a folder: the rates
// as parts of their floors, and the times.
func (r *Report) Plots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { // #nosec G301 -- pictures for anybody
		return err
	}
	var conns []int
	for i := range r.Lines {
		if !slices.Contains(conns, r.Lines[i].Conns) {
			conns = append(conns, r.Lines[i].Conns)
		}
	}
	for _, n := range conns {
		var lines []Line
		for i := range r.Lines {
			if r.Lines[i].Conns == n {
				lines = append(lines, r.Lines[i])
			}
		}
		for name, text := range map[string]string{
			fmt.Sprintf("ratios-%d-nodes-%d.svg", r.Nodes, n): r.ratios(lines, n), fmt.Sprintf("times-%d-nodes-%d.svg", r.Nodes, n): r.times(lines, n),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { // #nosec G306 -- pictures for anybody
				return err
			}
		}
	}
	return nil
}

// canvas is a plot with one row for each line, in groups of one work.
type canvas struct {
	strings.Builder
	lines []Line
	// scale is where on the plot a value is.
	scale func(x float64) float64
}

func (c *canvas) printf(format string, args ...any) { _, _ = fmt.Fprintf(c, format, args...) }

func (c *canvas) row(i int) float64 {
	y := float64(plotTop)
	for j := range i {
		y += barHeight
		if c.lines[j].Work != c.lines[j+1].Work {
			y += groupSpace
		}
	}
	return y
}

func (c *canvas) height() float64 { return c.row(len(c.lines)-1) + barHeight + plotBottom }

// begin writes the title, what the colours stand for, and the names of works.
func (c *canvas) begin(title string, targets []string) {
	c.printf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" font-family=\"sans-serif\" font-size=\"11\">\n"+
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"10\" y=\"18\" font-size=\"14\">%s</text>\n", plotWidth, c.height(), html.EscapeString(title))
	x := 10
	for i, name := range targets {
		c.printf("<rect x=\"%d\" y=\"28\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"37\">%s</text>\n", x, colours[i%len(colours)], x+14, html.EscapeString(name))
		x += 30 + 7*len(name)
	}
	for i := range c.lines {
		if i == 0 || c.lines[i].Work != c.lines[i-1].Work {
			c.printf("<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", plotLeft-8, c.row(i)+barHeight-4, html.EscapeString(c.lines[i].Work))
		}
	}
}

// tick marks a value of the axis.
func (c *canvas) tick(x float64, label string) {
	bottom := c.height() - plotBottom
	c.printf("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
		c.scale(x), c.scale(x), plotTop-4, bottom+2, c.scale(x), bottom+16, label)
}

func (c *canvas) end(axis string) string {
	c.printf("<text x=\"%d\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n</svg>\n", (plotLeft+plotWidth-plotRight)/2, c.height()-6, html.EscapeString(axis))
	return c.String()
}

func (r *Report) colour(target string) string {
	return colours[max(0, slices.Index(r.Targets, target))%len(colours)]
}

// ratios shows rates as parts of their floors, with the spread of the rounds as
// a line and the goal as a mark.
func (r *Report) ratios(lines []Line, conns int) string {
	most := 1.0
	var held []Line
	for i := range lines {
		if l := &lines[i]; l.FloorRate > 0 {
			held = append(held, *l)
			most = max(most, min(3, l.Highest/l.FloorRate))
		}
	}
	if held == nil {
		held = []Line{{Work: "nothing has a floor"}}
	}
	c := &canvas{lines: held, scale: func(x float64) float64 {
		return plotLeft + min(x, most)/most*(plotWidth-plotLeft-plotRight)
	}}
	c.begin(fmt.Sprintf("Rates as parts of their floors: nodes: %d, connections: %d, CPUs: %d", r.Nodes, conns, r.CPUs), r.Targets)
	for x := 0.0; x <= most; x += 0.25 {
		c.tick(x, fmt.Sprint(x))
	}
	for i := range held {
		l := &held[i]
		y := c.row(i)
		c.printf("<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", plotLeft, y, c.scale(l.Ratio)-plotLeft, barHeight-3, r.colour(l.Target))
		if l.FloorRate > 0 {
			c.printf("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"black\"/>\n",
				c.scale(l.Lowest/l.FloorRate), c.scale(l.Highest/l.FloorRate), y+5.5, y+5.5)
			c.printf("<text x=\"%.1f\" y=\"%.1f\" font-size=\"9\">%.0f/s</text>\n", c.scale(max(l.Ratio, l.Highest/l.FloorRate))+4, y+9, l.Rate)
		}
		if l.Goal > 0 {
			c.printf("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#c00\" stroke-width=\"2\"/>\n", c.scale(l.Goal), c.scale(l.Goal), y-1, y+barHeight-2)
		}
	}
	return c.end("part of the floor's rate in the same run; the red mark is the goal")
}

// times shows from the median to p99 as a bar, and to the longest as a line, on
// a logarithmic axis.
func (r *Report) times(lines []Line, conns int) string {
	least, most := math.Inf(1), 0.0
	for i := range lines {
		least, most = min(least, max(1e-6, lines[i].P50)), max(most, lines[i].Max)
	}
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(max(most, least*10)))
	c := &canvas{lines: lines, scale: func(x float64) float64 {
		return plotLeft + (math.Log10(max(x, 1e-6))-low)/(high-low)*(plotWidth-plotLeft-plotRight)
	}}
	loop := ""
	if r.OpenRate > 0 {
		loop = fmt.Sprintf(", at %.0f a second", r.OpenRate)
	}
	c.begin(fmt.Sprintf("Times of answers: nodes: %d, connections: %d, CPUs: %d%s", r.Nodes, conns, r.CPUs, loop), r.Targets)
	for e := low; e <= high; e++ {
		c.tick(math.Pow(10, e), short(math.Pow(10, e)))
	}
	for i := range lines {
		l := &lines[i]
		y := c.row(i)
		c.printf("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#888\"/>\n", c.scale(l.P50), c.scale(l.Max), y+5.5, y+5.5)
		c.printf("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n",
			c.scale(l.P50), y, max(1, c.scale(l.P99)-c.scale(l.P50)), barHeight-3, r.colour(l.Target))
		for _, x := range []float64{l.P90, l.P999} {
			c.printf("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"black\"/>\n", c.scale(x), c.scale(x), y, y+barHeight-3)
		}
	}
	return c.end("bar: median to p99; marks: p90 and p99.9; line: to the longest")
}
