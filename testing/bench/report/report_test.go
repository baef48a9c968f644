package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/bench/report"
)

func sample() *report.Report {
	return &report.Report{
		CPUs: 2, Go: "go", System: "linux", Nodes: 1, Rounds: 3, Round: time.Second, Targets: []string{"<a>", "b"},
		Lines: []report.Line{
			{Work: "read", Target: "<a>", Conns: 1, Rate: 10, Lowest: 9, Highest: 11, Times: report.Times{P50: 0.001, P99: 0.01, Max: 2}, Floor: "f", FloorRate: 20, Ratio: 0.5, Goal: 0.4},
			{Work: "read", Target: "b", Conns: 1, Rate: 5, Lowest: 4, Highest: 6, Times: report.Times{P50: 0.002, P99: 0.02, Max: 3}, Errors: 7},
			{Work: "write", Target: "<a>", Conns: 32, Rate: 1},
		},
		Left: []report.Left{{Work: "issue", Target: "b", Why: "not offered"}},
	}
}

func TestTableAndJSON(t *testing.T) {
	t.Parallel()
	r := sample()
	var b strings.Builder
	if err := errors.Join(r.Head(&b), r.Lines[0].Row(&b), r.Markdown(&b)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"9..11", "1.00ms", "10.0ms", "2.00s", "0.50", "| b | 1 | 5/s |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in:\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var back report.Report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || len(back.Lines) != 3 || back.Lines[1].Errors != 7 || back.Left[0].Why != "not offered" {
		t.Errorf("read back %+v: %v", back, err)
	}
}

// TestPlots: each is well-formed XML, whatever the targets are called.
func TestPlots(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "plots")
	if err := sample().Plots(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ratios-1-nodes-1.svg", "times-1-nodes-1.svg", "ratios-1-nodes-32.svg", "times-1-nodes-32.svg"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		dec := xml.NewDecoder(strings.NewReader(string(text)))
		for err == nil {
			_, err = dec.Token()
		}
		if !errors.Is(err, io.EOF) || strings.Contains(string(text), "NaN") || strings.Contains(string(text), "Inf") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
