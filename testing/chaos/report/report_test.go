package report_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
	"github.com/coffer-secrets/coffer/testing/chaos/report"
)

func TestReport(t *testing.T) {
	t.Parallel()
	ops := []history.Op{
		{Work: "set", Kind: "add", Call: 1, Return: int64(time.Second / 2), Outcome: history.Done},
		{Work: "set", Kind: "add", Call: 1, Return: int64(5 * time.Second), Outcome: history.Unknown},
		{Work: "register", Kind: "cas", Call: 2, Return: int64(2 * time.Second), Outcome: history.Refused},
		{Work: "register", Kind: "write", Call: 2, Return: int64(2 * time.Second), Outcome: history.Failed},
	}
	r := report.Report{
		Seed: 7, Nodes: 3, Network: "none", Left: []string{"ring"}, Faults: []report.Span{{Name: "kill <all>", From: 1, To: int64(time.Second)}},
		Heals: []time.Duration{3 * time.Second, time.Second, 2 * time.Second},
	}
	r.Tally(ops)
	r.Found("stuck", errors.New("node 1"))
	r.Found("nothing", nil)
	text := r.Text()
	for _, want := range []string{"seed 7, 3 nodes", "kill <all>", "ring                 not possible here", "median 2s, longest 3s", "violations: 1", "stuck: : node 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text has no %q:\n%s", want, text)
		}
	}
	dir := t.TempDir()
	if err := r.Save(dir, ops); err != nil {
		t.Fatal(err)
	}
	plot, err := os.ReadFile(filepath.Join(dir, "timeline.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for in := xml.NewDecoder(strings.NewReader(string(plot))); ; {
		if _, err := in.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v\n%s", err, plot)
		}
	}
}
