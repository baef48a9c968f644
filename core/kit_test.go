package core_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// open sends a write without a token, as the ceremonies are asked.
func open(s *kit.Server, path string, b body) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPut, Path: path, Token: kit.NoToken, Body: b})
}

func must(t *testing.T, r *kit.Response) *kit.Response {
	t.Helper()
	if r.Status != http.StatusOK && r.Status != http.StatusNoContent {
		t.Fatalf("answered %d: %s", r.Status, r.Raw)
	}
	return r
}

func refused(t *testing.T, r *kit.Response, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(strings.Join(r.Errors(), "\n"), text) {
		t.Errorf("answered %d %s, want %d with %q", r.Status, r.Raw, status, text)
	}
}

// eventually waits for what the background does.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("it never came true")
		case <-tick.C:
		}
	}
}

// secret stores a value and returns a check that it is still readable.
func secret(t *testing.T, s *kit.Server) func() {
	t.Helper()
	s.Mount("kv", "kv", nil)
	s.Put("kv/x", body{"k": "v"})
	return func() {
		t.Helper()
		if got := s.Get("kv/x").Text("data", "k"); got != "v" {
			t.Errorf("read %q", got)
		}
	}
}
