package server

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	httpapi "github.com/coffer-secrets/coffer/http"
)

// TestHandedTooEarly: what is handed on to a node that has just been started is
// not done, and says so. It was answered 404 for want of a handler, which whoever
// had handed it on took for the answer, though an earlier leader had done it.
func TestHandedTooEarly(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPeers(t.Context(), l, "node-1", t.TempDir(), l.Addr().String(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.port.Close() })
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		p.mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, httpapi.HandPath, nil))
		return w
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Coffer-Fate") != "not-executed" {
		t.Errorf("status %d, fate %q", w.Code, w.Header().Get("Coffer-Fate"))
	}
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	p.handed.Store(&handler)
	if w := ask(); w.Code != http.StatusTeapot {
		t.Errorf("status %d once it is ready", w.Code)
	}
}
