package httpapi_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// ask sends a request to the handler without a network.
func ask(s *kit.Server, r *http.Request) *kit.Response {
	w := httptest.NewRecorder()
	s.Handler.ServeHTTP(w, r)
	return kit.NewResponse(w.Code, w.Header(), w.Body.Bytes())
}

// FuzzRequestPath: no target of a request makes the node fail, no spelling
// shows what is hidden, and no read reaches the log.
func FuzzRequestPath(f *testing.F) {
	n := serving(f)
	n.Put("kv/data/pub/x", map[string]any{"data": map[string]any{"v": "public"}})
	for _, method := range []string{"GET", "LIST", "SCAN"} {
		for _, a := range pathAttacks(n) {
			if target := strings.Split(a.send, " ")[1]; len(target) < 4096 {
				f.Add(method, target)
			}
		}
		f.Add(method, "/v1/kv/data/hidden/x?version=1&list=true")
		f.Add(method, "/v1/kv/metadata/hidden?after=a&limit=1")
		f.Add(method, "/v1/sys/internal/ui/mounts/kv/data/hidden/x")
		f.Add(method, "/v1/kv/data/hidden/x;a=b?%zz")
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		switch method {
		case "GET", "LIST", "SCAN", "HEAD", "OPTIONS":
		default:
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line(method, target, n.app))))
		if err != nil {
			return // the server refuses it before the handler
		}
		r.RemoteAddr = "127.0.0.1:1"
		index := n.Index()
		got := ask(n.Server, r)
		if n.Index() != index {
			t.Errorf("%s %q reached the log", method, target)
		}
		if got.Status >= 500 {
			t.Errorf("%s %q: %d %s", method, target, got.Status, got.Raw)
		}
		if bytes.Contains(got.Raw, []byte(canary)) {
			t.Errorf("%s %q shows the secret: %s", method, target, got.Raw)
		}
		if got.Status == http.StatusBadRequest && strings.Join(got.Errors(), "") == "" {
			t.Errorf("%s %q: nothing says what is wrong", method, target)
		}
	})
}

// FuzzBody: no body makes the node fail, and one that is refused does not
// reach the log.
func FuzzBody(f *testing.F) {
	n := serving(f)
	paths := []string{
		"kv/data/pub/f", "kv/metadata/pub/f", "kv/delete/pub/f", "kv/config", "old/pub/f", "cubbyhole/f", "sys/capabilities-self",
		"sys/policies/acl/f", "sys/tools/hash", "sys/tools/random", "sys/wrapping/lookup", "auth/token/create", "auth/token/roles/f",
		"auth/token/lookup", "sys/mounts/kv/tune", "sys/config/cors", "sys/internal/counters/config",
	}
	for i := range paths {
		for _, seed := range []string{
			``, `null`, `{}`, `[]`, `{"data": {"a": 1}, "options": {"cas": 0}}`, `{"versions": [1, "2"]}`, `{"ttl": "1h", "policies": ["app"], "num_uses": 1}`,
			`{"policy": "path \"a\" { capabilities = [\"read\"] }"}`, `{"input": "YQ==", "algorithm": "sha2-256", "bytes": 4}`, `{"paths": ["a", "b/"]}`,
			`{"a": {"a": {"a": [[[1e400]]]}}}`, `{"a": 1, "a": 2}`, "{\"a\": \"\xff\"}", `{"max_versions": -1, "delete_version_after": "-1s"}`,
		} {
			f.Add(byte(i), []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		path := paths[int(which)%len(paths)]
		r := httptest.NewRequest(http.MethodPut, "/v1/"+path, bytes.NewReader(body))
		r.Header.Set("X-Vault-Token", n.Root)
		index := n.Index()
		got := ask(n.Server, r)
		if got.Status >= 500 {
			t.Errorf("%s %q: %d %s", path, body, got.Status, got.Raw)
		}
		if got.Status >= 400 && n.Index() != index {
			t.Errorf("%s %q: refused with %d, and reached the log", path, body, got.Status)
		}
		if got.Status == http.StatusBadRequest && strings.Join(got.Errors(), "") == "" {
			t.Errorf("%s %q: nothing says what is wrong", path, body)
		}
	})
}
