package httpapi_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

const (
	canary = "canary-4711"
	// appPolicy lets a token work below pub and keeps it from what is below hidden.
	appPolicy = `
path "kv/data/*"            { capabilities = ["create", "read", "update", "patch", "delete"] }
path "kv/metadata/*"        { capabilities = ["list", "read", "scan"] }
path "kv/+/hidden/*"        { capabilities = ["deny"] }
path "kv/data/hidden/*"     { capabilities = ["deny"] }
path "kv/metadata/hidden/*" { capabilities = ["deny"] }
path "old/pub/*"            { capabilities = ["create", "read", "update", "list"] }`
)

// node is a server with something to keep from somebody.
type node struct {
	*kit.Server
	t testing.TB
	// app is the token of somebody.
	app string
}

func serving(t testing.TB, list ...kit.Option) *node {
	t.Helper()
	s := kit.New(t, list...)
	s.Mount("kv", "kv", map[string]string{"version": "2"})
	s.Mount("old", "kv", nil)
	for _, path := range []string{"kv/data/hidden/x", "kv/data/pub/x"} {
		s.Put(path, map[string]any{"data": map[string]any{"v": canary}})
	}
	s.Policy("app", appPolicy)
	return &node{Server: s, t: t, app: s.Login("app")}
}

// wire sends bytes as they are and returns the answer to them.
func wire(t testing.TB, s *kit.Server, text string) *kit.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	method, _, _ := strings.Cut(text, " ")
	got, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.80q: %v", text, err)
	}
	defer func() { _ = got.Body.Close() }()
	raw, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return kit.NewResponse(got.StatusCode, got.Header, raw)
}

// line is a request of a method and a target with a token and further headers.
func line(method, target, token string, headers ...string) string {
	text := method + " " + target + " HTTP/1.1\r\nHost: coffer\r\nConnection: close\r\n"
	if token != "" {
		text += "X-Vault-Token: " + token + "\r\n"
	}
	for _, h := range headers {
		text += h + "\r\n"
	}
	return text + "\r\n"
}

// untouched runs something that must leave log and state as they are.
func (n *node) untouched(t testing.TB, what string, do func()) {
	t.Helper()
	index, sum := n.Index(), n.Checksum()
	do()
	if n.Index() != index {
		t.Errorf("%s reached the log", what)
	}
	if n.Checksum() != sum {
		t.Errorf("%s changed the state", what)
	}
}

func header(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// says checks a text of errors. A text ending in "..." is only a beginning.
func says(t testing.TB, what string, r *kit.Response, want string) {
	t.Helper()
	got := strings.Join(r.Errors(), "|")
	if begin, ok := strings.CutSuffix(want, "..."); ok && strings.HasPrefix(got, begin) {
		return
	}
	if got != want {
		t.Errorf("%s says %q, want %q", what, got, want)
	}
}
