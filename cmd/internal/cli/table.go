package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const gap = "    "

// columns writes rows with each column as wide as its widest cell.
func columns(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + gap)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// titled puts names and dashes of the same length above rows. What is empty is
// said to be.
func titled(names []string, rows [][]string) string {
	for _, row := range rows {
		for i, text := range row {
			if text == "" {
				row[i] = "n/a"
			}
		}
	}
	dashes := make([]string, len(names))
	for i, name := range names {
		dashes[i] = strings.Repeat("-", len(name))
	}
	return columns(append([][]string{names, dashes}, rows...))
}

func keyValue(rows [][]string) string { return titled([]string{"Key", "Value"}, rows) }

// mapRows are the rows of a map, by name.
func mapRows(m map[string]any) [][]string {
	rows := make([][]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		rows = append(rows, []string{name, cell(name, m[name])})
	}
	return rows
}

// cell writes a value in a table. Times of life are written for people.
func cell(name string, v any) string {
	if isDuration(name) {
		if seconds, ok := wholeSeconds(v); ok {
			return humanDuration(seconds)
		}
	}
	return fmt.Sprint(v)
}

func isDuration(name string) bool {
	switch name {
	case "ttl", "period", "duration", "lease_max", "ttl_max":
		return true
	}
	return strings.HasSuffix(name, "_ttl") || strings.HasSuffix(name, "_period") || strings.HasSuffix(name, "_duration")
}

func wholeSeconds(v any) (int64, bool) {
	var n int64
	if _, err := fmt.Sscan(fmt.Sprint(v), &n); err != nil || fmt.Sprint(n) != fmt.Sprint(v) {
		return 0, false
	}
	const most = int64(1<<63-1) / int64(time.Second)
	return n, n >= -most && n <= most
}

// humanDuration drops the parts that are zero at the end.
func humanDuration(seconds int64) string {
	text := (time.Duration(seconds) * time.Second).String()
	if before, ok := strings.CutSuffix(text, "m0s"); ok {
		text = before + "m"
	}
	if before, ok := strings.CutSuffix(text, "h0m"); ok {
		text = before + "h"
	}
	return text
}

// banner is a title between equal signs, about as wide as what it stands above.
func banner(title string, width int) string {
	signs := width - len(title) - 2
	if signs <= 0 {
		signs = 4
	}
	side := strings.Repeat("=", (signs+1)/2)
	return side + " " + title + " " + side
}

// mapBanner is the banner of a table of a map.
func mapBanner(title string, m map[string]any) string {
	widest := 0
	for name := range m {
		widest = max(widest, len(name))
	}
	return banner(title, widest+len(gap)+len("Value"))
}
