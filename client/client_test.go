package client_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/client"
)

func TestRequestForm(t *testing.T) {
	f := newFake(t, always(http.StatusOK, `{"request_id":"r","data":{"keys":["a"]}}`))
	c := f.client(t, func(cfg *client.Config) {
		cfg.Namespace, cfg.WrapTTL = "team", "5m"
		cfg.Header = http.Header{"X-Trace": {"1"}}
	})
	ctx := t.Context()
	if _, err := c.Write(ctx, "/secret/a b/ü?#%2F..//x", map[string]any{"k": "<&>"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.List(ctx, "secret/", url.Values{"limit": {"2"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Scan(ctx, "secret/", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Patch(ctx, "p", map[string]any{"x": nil}); err != nil {
		t.Fatal(err)
	}
	got := f.requests()
	if want := "/v1/secret/a%20b/%C3%BC%3F%23%252F..//x"; got[0].URI != want {
		t.Errorf("the path is sent as %s, want %s", got[0].URI, want)
	}
	if got[0].Method != http.MethodPut || got[0].Body != `{"k":"<&>"}` {
		t.Errorf("wrote %s %s", got[0].Method, got[0].Body)
	}
	for name, want := range map[string]string{
		"X-Vault-Token": "tok", "X-Vault-Namespace": "team", "X-Vault-Wrap-Ttl": "5m", "X-Vault-Request": "true", "X-Trace": "1",
	} {
		if got[0].Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got[0].Header.Get(name), want)
		}
	}
	if got[1].Method != http.MethodGet || got[1].URI != "/v1/secret/?limit=2&list=true" {
		t.Errorf("listed with %s %s", got[1].Method, got[1].URI)
	}
	if got[2].URI != "/v1/secret/?scan=true" {
		t.Errorf("scanned with %s", got[2].URI)
	}
	if got[3].Method != http.MethodPatch || got[3].Header.Get("Content-Type") != "application/merge-patch+json" {
		t.Errorf("patched with %s %v", got[3].Method, got[3].Header)
	}
}

func TestRetries(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		write  bool
		want   int
	}{
		{"a read after 500", 500, false, 3},
		{"a read after 503", 503, false, 3},
		{"a read after 501", 501, false, 1},
		{"a read after 404", 404, false, 1},
		{"a write after 500", 500, true, 1},
		{"a write after 503", 503, true, 1},
		{"a write after 504", 504, true, 1},
		{"a write after 429", 429, true, 3},
		{"a write after 412", 412, true, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t, always(tc.status, `{"errors":["no"]}`))
			c := f.client(t)
			var err error
			if tc.write {
				_, err = c.Write(t.Context(), "x", map[string]any{"a": 1})
			} else {
				_, err = c.Read(t.Context(), "x", nil)
			}
			if client.StatusOf(err) != tc.status {
				t.Errorf("got %v", err)
			}
			got := f.requests()
			if len(got) != tc.want {
				t.Errorf("sent %d times, want %d", len(got), tc.want)
			}
			for _, r := range got {
				if tc.write && r.Body != `{"a":1}` {
					t.Errorf("sent again with body %q", r.Body)
				}
			}
		})
	}
}

func TestRetrySucceeds(t *testing.T) {
	f := newFake(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n < 3 {
			w.Header().Set("Retry-After", "3000")
			reply(w, http.StatusTooManyRequests, `{"errors":[]}`)
			return
		}
		reply(w, http.StatusOK, `{"request_id":"r","data":{"a":1}}`)
	})
	if _, err := f.client(t).Write(t.Context(), "x", map[string]any{}); err != nil {
		t.Fatal(err)
	}
}

func TestLostWriteIsNotSentAgain(t *testing.T) {
	f := newFake(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	if _, err := f.client(t).Write(t.Context(), "x", map[string]any{"a": 1}); err == nil {
		t.Fatal("no error")
	}
	if n := len(f.requests()); n != 1 {
		t.Errorf("a write that may have arrived was sent %d times", n)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	f := &fake{Server: &httptest.Server{URL: "http://" + l.Addr().String()}}
	_, err = f.client(t).Read(t.Context(), "x", nil)
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestRedirect(t *testing.T) {
	leader := newFake(t, always(http.StatusOK, `{"request_id":"r","data":{"from":"leader"}}`))
	follower := newFake(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, leader.URL+r.RequestURI, http.StatusTemporaryRedirect)
	})
	s, err := follower.client(t).Write(t.Context(), "x", map[string]any{"a": 1})
	if err != nil || s.Data["from"] != "leader" {
		t.Fatalf("got %v, %v", s, err)
	}
	if got := leader.requests()[0]; got.Method != http.MethodPut || got.Body != `{"a":1}` || got.Header.Get("X-Vault-Token") != "tok" {
		t.Errorf("the leader got %+v", got)
	}
}

func TestRedirectOutOfTLSIsRefused(t *testing.T) {
	plain := newFake(t, always(http.StatusOK, `{}`))
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusTemporaryRedirect))
	t.Cleanup(secure.Close)
	f := &fake{Server: secure}
	c := f.client(t, func(cfg *client.Config) { cfg.TLS.CACertPEM = certificate(secure) })
	if _, err := c.Read(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("got %v", err)
	}
	if len(plain.requests()) != 0 {
		t.Error("the token left TLS")
	}
}

func certificate(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestTLS(t *testing.T) {
	f := new(fake)
	f.Server = httptest.NewTLSServer(f.handler(always(http.StatusOK, `{"request_id":"r","data":{}}`)))
	t.Cleanup(f.Close)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, certificate(f.Server), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		tls  client.TLS
		ok   bool
	}{
		{"unknown authority", client.TLS{}, false},
		{"authority in a file", client.TLS{CACert: ca}, true},
		{"authorities in a folder", client.TLS{CAPath: dir}, true},
		{"not verified", client.TLS{SkipVerify: true}, true},
		{"another name", client.TLS{CACert: ca, ServerName: "other.test"}, false},
		{"the certificate's name", client.TLS{CACert: ca, ServerName: "example.com"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := f.client(t, func(cfg *client.Config) { cfg.TLS = tc.tls })
			if _, err := c.Read(t.Context(), "x", nil); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []client.Config{
		{Address: "127.0.0.1:8200"}, {Address: "ftp://x"}, {Address: "unix://"}, {Address: "http://u:p@x"}, {Address: "http://x?q"},
		{Token: "a\nb"}, {Token: "a b"}, {TLS: client.TLS{CACert: empty}}, {TLS: client.TLS{CAPath: filepath.Dir(empty)}},
		{TLS: client.TLS{ClientCert: empty}}, {TLS: client.TLS{ClientCert: empty, ClientKey: empty}}, {TLS: client.TLS{CACert: "none"}},
	} {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		} else if strings.Contains(err.Error(), "a b") {
			t.Errorf("the token is in the error: %v", err)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	f := new(fake)
	f.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: f.handler(always(200, `{"request_id":"r","data":{"a":"b"}}`))}}
	f.Start()
	t.Cleanup(f.Close)
	c := f.client(t, func(cfg *client.Config) { cfg.Address = "unix://" + socket })
	s, err := c.Read(t.Context(), "x", nil)
	if err != nil || s.Data["a"] != "b" {
		t.Errorf("got %v, %v", s, err)
	}
}

func TestErrors(t *testing.T) {
	f := newFake(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		switch n {
		case 1:
			reply(w, 403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
		case 2:
			reply(w, 400, strings.Repeat("x", 10_000))
		default:
			reply(w, 404, `{"request_id":"r","data":{"data":null,"metadata":{"version":1}}}`)
		}
	})
	c := f.client(t)
	_, err := c.Read(t.Context(), "secret/a", nil)
	want := fmt.Sprintf("Error making API request.\n\nURL: GET %s/v1/secret/a\nCode: 403. Errors:\n\n* 1 error occurred:\n\t* permission denied", f.URL)
	if err == nil || err.Error() != want {
		t.Errorf("got  %q\nwant %q", err, want)
	}
	_, err = c.Read(t.Context(), "x", nil)
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 400 || len(e.Raw) != 4096 {
		t.Errorf("got %v", err)
	}
	s, err := c.Read(t.Context(), "x", nil)
	if client.StatusOf(err) != 404 || s == nil || s.Data["metadata"] == nil {
		t.Errorf("a missing version: got %v, %v", s, err)
	}
}

func TestParseSecret(t *testing.T) {
	s, err := client.ParseSecret([]byte(`{"request_id":"r","data":{"big":12345678901234567890,"f":1.10}}`))
	if err != nil || mustJSON(t, s.Data) != `{"big":12345678901234567890,"f":1.10}` {
		t.Errorf("numbers: %v, %v", s, err)
	}
	var into struct{ Big json.Number }
	if err := s.Decode(&into); err != nil || into.Big != "12345678901234567890" {
		t.Errorf("decoded %v, %v", into, err)
	}
	if s, err = client.ParseSecret([]byte(`{"sealed":true,"t":3}`)); err != nil || mustJSON(t, s.Data) != `{"sealed":true,"t":3}` {
		t.Errorf("a bare object: %v, %v", s, err)
	}
	if s, err = client.ParseSecret([]byte(" \n")); err != nil || s != nil || !s.Empty() || s.Raw() != nil {
		t.Errorf("nothing: %v, %v", s, err)
	}
	for _, bad := range []string{"-----BEGIN", `{"data":1,"request_id":""}`, `[1]`, `{} {}`, `{"data":`} {
		if _, err := client.ParseSecret([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestLargeAnswer(t *testing.T) {
	f := newFake(t, always(200, `{"data":{"a":"`+strings.Repeat("x", 2000)+`"}}`))
	c := f.client(t, func(cfg *client.Config) { cfg.MaxBody = 1000 })
	if _, err := c.Read(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "limit of 1000 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestUnwrap(t *testing.T) {
	f := newFake(t, always(200, `{"request_id":"r","data":{}}`))
	ctx := t.Context()
	own := f.client(t, func(cfg *client.Config) { cfg.WrapTTL = "1m" })
	none := f.client(t, func(cfg *client.Config) { cfg.Token = "" })
	for _, try := range []func() error{
		func() error { _, err := own.Unwrap(ctx, "wrapping"); return err },
		func() error { _, err := own.Unwrap(ctx, ""); return err },
		func() error { _, err := none.Unwrap(ctx, "wrapping"); return err },
	} {
		if err := try(); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []struct{ token, body string }{{"tok", `{"token":"wrapping"}`}, {"tok", ""}, {"wrapping", ""}} {
		got := f.requests()[i]
		if got.Header.Get("X-Vault-Token") != want.token || got.Body != want.body || got.Header.Get("X-Vault-Wrap-TTL") != "" {
			t.Errorf("%d: got %+v", i, got)
		}
	}
	if none.Config().Token != "" {
		t.Error("the client took the wrapping token for its own")
	}
}
