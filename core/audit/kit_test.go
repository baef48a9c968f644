package audit_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// audited is a server whose audit files are in folder.
type audited struct {
	*kit.Server
	t      testing.TB
	folder string
}

func serving(t testing.TB, list ...kit.Option) *audited {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "audit")
	list = append([]kit.Option{kit.Core(func(c *core.Config) { c.Audit.Folder = folder })}, list...)
	return &audited{Server: kit.New(t, list...), t: t, folder: folder}
}

// configured makes a server with devices of its configuration.
func configured(deadline time.Duration, stdout *gate, devices ...audit.Entry) kit.Option {
	return kit.Core(func(c *core.Config) {
		c.Audit.Devices, c.Audit.Deadline = devices, deadline
		if stdout != nil {
			c.Audit.Stdout = stdout
		}
	})
}

// enable enables a file device and returns where its records are.
func (s *audited) enable(name string, options body) string {
	s.t.Helper()
	all := body{"file_path": name + ".log"}
	for key, value := range options {
		all[key] = value
	}
	s.Put("sys/audit/"+name, body{"type": "file", "options": all})
	return filepath.Join(s.folder, name+".log")
}

func (s *audited) hash(device, text string) string {
	s.t.Helper()
	return s.Put("sys/audit-hash/"+device, body{"input": text}).Text("data", "hash")
}

// record is one line.
type record = map[string]any

func parse(t testing.TB, text []byte) []record {
	t.Helper()
	var out []record
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%v: %.200q", err, lines.Text())
		}
		out = append(out, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func records(t testing.TB, file string) []record {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text[:bytes.LastIndexByte(text, '\n')+1]) // one may be under way
}

// at returns the member that a path of names leads to.
func at(r record, names ...string) any {
	var v any = r
	for _, name := range names {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// on returns the records of a path, of one type.
func on(all []record, typ, path string) []record {
	var out []record
	for _, r := range all {
		if r["type"] == typ && at(r, "request", "path") == path {
			out = append(out, r)
		}
	}
	return out
}

func refused(t testing.TB, r *kit.Response, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(strings.Join(r.Errors(), "\n"), text) {
		t.Errorf("answered %d %s, want %d with %q", r.Status, r.Raw, status, text)
	}
}

func put(s *audited, path string, b any) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPut, Path: path, Body: b})
}

// eventually waits for what the devices do by themselves.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("%s never came true", what)
		case <-tick.C:
		}
	}
}

// gate is a standard output that fails or hangs when it is told to.
type gate struct {
	mu   sync.Mutex
	text bytes.Buffer
	// fail is what a write fails with, from the write number after on.
	fail   error
	writes int
	after  int
	hang   chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	hang := g.hang
	g.mu.Unlock()
	if hang != nil {
		<-hang
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes++
	if g.fail != nil && g.writes > g.after {
		return 0, g.fail
	}
	return g.text.Write(p)
}

// failing makes writes fail with err, after so many more have succeeded.
func (g *gate) failing(err error, after int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail, g.after = err, g.writes+after
}

// block makes writes hang until the function that it returns is called.
func (g *gate) block() (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	hang := make(chan struct{})
	g.hang = hang
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.hang = nil
		close(hang)
	})
}

func (g *gate) bytes() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return bytes.Clone(g.text.Bytes())
}

func stdout() audit.Entry {
	return audit.Entry{Path: "out", Type: "file", Options: map[string]string{"file_path": "stdout"}}
}
