package system_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

func put(s *kit.Server, token, path string, b any) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPut, Path: path, Token: token, Body: b})
}

func refused(t *testing.T, r *kit.Response, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(strings.Join(r.Errors(), "\n"), text) {
		t.Errorf("answered %d %s, want %d with %q", r.Status, r.Raw, status, text)
	}
}

// same compares a list in an answer.
func same(t *testing.T, r *kit.Response, want []string, names ...string) {
	t.Helper()
	if got := r.Strings(names...); !slices.Equal(got, want) {
		t.Errorf("%v: %q, want %q", names, got, want)
	}
}

func number(t *testing.T, v any) string {
	t.Helper()
	n, ok := v.(json.Number)
	if !ok {
		t.Fatalf("%v is no number", v)
	}
	return n.String()
}
