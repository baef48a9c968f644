package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines/aws"
	"github.com/coffer-secrets/coffer/testing/bench/report"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestMain serves the floor of reads when it is started for that, as the program
// itself does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve-floor" {
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := serveHTTPFloor(ctx)
		cancel()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEveryWork does each kind of work for a moment, on two servers that it is
// given. None may fail, and every one has a floor, and leaves nothing behind.
func TestEveryWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := options{conns: []int{1, 3}, nodes: 1, rounds: 1, round: 20 * time.Millisecond, warmUp: time.Millisecond, names: 30}
	var servers []*kit.Server
	for i := range 2 {
		s := kit.New(t, kit.Engines(aws.New()))
		servers = append(servers, s)
		o.given.addresses, o.given.tokens = append(o.given.addresses, fmt.Sprintf("s%d=%s", i, s.URL)), append(o.given.tokens, s.Root)
	}
	o.out = outputs{json: filepath.Join(dir, "r.json"), svg: filepath.Join(dir, "plots"), markdown: filepath.Join(dir, "r.md")}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	before := servers[0].Get("sys/mounts").Body
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if after := servers[0].Get("sys/mounts").Body; fmt.Sprint(after["data"]) != fmt.Sprint(before["data"]) {
		t.Errorf("mounts are left: %v, before %v", after["data"], before["data"])
	}
	text, err := os.ReadFile(o.out.json)
	if err != nil {
		t.Fatal(err)
	}
	var got report.Report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]int)
	for _, l := range got.Lines {
		lines[l.Work]++
		if l.Errors > 0 || l.Rate <= 0 || l.FloorRate <= 0 || l.Ratio <= 0 {
			t.Errorf("%s by %s with %d: %d errors (%s), rate %v of %v", l.Work, l.Target, l.Conns, l.Errors, l.Error, l.Rate, l.FloorRate)
		}
	}
	for _, w := range works() {
		if want := 2 * len(o.conns); w.node == 0 && lines[w.name] != want {
			t.Errorf("%s has %d lines, want %d", w.name, lines[w.name], want)
		}
	}
	table, err := os.ReadFile(o.out.markdown)
	if err != nil || !strings.Contains(string(table), "kv v2 transaction of 10") {
		t.Errorf("the table is %q, %v", table, err)
	}
	if plots, err := filepath.Glob(filepath.Join(o.out.svg, "*.svg")); err != nil || len(plots) == 0 {
		t.Errorf("plots: %v, %v", plots, err)
	}
}

// TestMisuse: what cannot be measured is said before anything is.
func TestMisuse(t *testing.T) {
	t.Parallel()
	good := options{conns: []int{1}, nodes: 1, rounds: 1, round: time.Second, names: 1}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(o *options){
		"unknown work":   func(o *options) { o.works = []string{"kv v3"} },
		"TLS of another": func(o *options) { o.tls, o.given.addresses = true, []string{"http://x:1"} },
		"TLS of three":   func(o *options) { o.tls, o.nodes = true, 3 },
		"no rounds":      func(o *options) { o.rounds = 0 },
		"no names":       func(o *options) { o.names = 0 },
	} {
		o := good
		if change(&o); o.check() == nil {
			t.Errorf("%s: nothing was said", name)
		}
	}
	for _, text := range []string{"", "0", "1,x", "1,,2"} {
		if o := good; o.readConns(text) == nil {
			t.Errorf("%q connections were taken", text)
		}
	}
	for _, addr := range []string{"", "ftp://x:1", "name=", "http://"} {
		g := given{addresses: []string{addr}}
		if _, err := g.targets(t.Context()); err == nil {
			t.Errorf("%q was taken for a server", addr)
		}
	}
}
