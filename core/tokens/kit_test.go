package tokens_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// put is a write with a token.
func put(s *kit.Server, token, path string, b any) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPut, Path: path, Token: token, Body: b})
}

// create makes a token as the caller, and must succeed.
func create(t *testing.T, s *kit.Server, caller string, b body) *kit.Response {
	t.Helper()
	return s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create", Token: caller, Body: b})
}

func child(t *testing.T, s *kit.Server, caller string, b body) string {
	t.Helper()
	return create(t, s, caller, b).Text("auth", "client_token")
}

// refused is an answer of a status with a text among its errors.
func refused(t *testing.T, r *kit.Response, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(strings.Join(r.Errors(), "\n"), text) {
		t.Errorf("answered %d %s, want %d with %q", r.Status, r.Raw, status, text)
	}
}

func alive(s *kit.Server, token string) bool {
	return s.Do(kit.Request{Path: "auth/token/lookup-self", Token: token}).Status == http.StatusOK
}

func number(t *testing.T, v any) int64 {
	t.Helper()
	n, ok := v.(json.Number)
	if !ok {
		t.Fatalf("%v is no number", v)
	}
	i, err := n.Int64()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func wantPolicies(t *testing.T, r *kit.Response, want ...string) {
	t.Helper()
	if got := r.Strings("auth", "policies"); !slices.Equal(got, want) {
		t.Errorf("policies %q, want %q", got, want)
	}
}

const (
	// maker may make tokens and little else; boss may do so with sudo.
	maker = `path "auth/token/create" { capabilities = ["update"] }
path "auth/token/create/*" { capabilities = ["update"] }
path "auth/token/create-orphan" { capabilities = ["update"] }`
	boss = `path "auth/token/*" { capabilities = ["create", "update", "read", "sudo"] }`
)

func newServer(t *testing.T, options ...kit.Option) *kit.Server {
	t.Helper()
	s := kit.New(t, options...)
	for name, text := range map[string]string{"maker": maker, "boss": boss, "a": `path "kv/a" { capabilities = ["read"] }`} {
		s.Put("sys/policies/acl/"+name, body{"policy": text})
	}
	return s
}

// rows counts the rows of a table of the state.
func rows(t *testing.T, s *kit.Server, table byte) int {
	t.Helper()
	view := s.Node.Local()
	defer view.Close()
	n := 0
	if err := scan(view, table, func() { n++ }); err != nil {
		t.Fatal(err)
	}
	return n
}

func errorText(text string) string { return fmt.Sprintf("1 error occurred:\n\t* %s\n\n", text) }
