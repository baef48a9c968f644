package upstream_test

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/auth/upstream"
	"github.com/coffer-secrets/coffer/engines"
)

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"bearer":"` + r.Header.Get("Authorization") + `","method":"` + r.Method + `"}`))
	})
	mux.Handle("/away", http.RedirectHandler("/good", http.StatusFound))
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`"` + strings.Repeat("x", 2<<20) + `"`))
	})
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hidden")) })
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, o upstream.Options) *upstream.Client {
	t.Helper()
	c, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func ca(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestBounds(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := client(t, upstream.Options{CAs: ca(s)})
	var got struct{ Bearer, Method string }
	if err := c.JSON(t.Context(), upstream.Ask{URL: s.URL + "/good", Bearer: "b", Body: 1}, &got); err != nil || got.Bearer != "Bearer b" || got.Method != http.MethodPost {
		t.Errorf("answered %v %v", got, err)
	}
	for _, path := range []string{"/away", "/large", "/text", "/none"} {
		err := c.JSON(t.Context(), upstream.Ask{URL: s.URL + path, Bearer: "secret"}, &got)
		if engines.KindOf(err) != engines.KindUpstream || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", path, err)
		}
	}
	var status upstream.Status
	if err := c.JSON(t.Context(), upstream.Ask{URL: s.URL + "/none"}, &got); !errors.As(err, &status) || status != http.StatusNotFound {
		t.Errorf("answered %v", err)
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, c := range []struct {
		o  upstream.Options
		ok bool
	}{
		{upstream.Options{}, false},
		{upstream.Options{CAs: ca(s)}, true},
		{upstream.Options{CAs: ca(s), ServerNames: []string{"other.test", "example.com"}}, true},
		{upstream.Options{CAs: ca(s), ServerNames: []string{"other.test"}}, false},
		{upstream.Options{ServerNames: []string{"example.com"}}, false},
	} {
		var got any
		if err := client(t, c.o).JSON(t.Context(), upstream.Ask{URL: s.URL + "/good"}, &got); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.o.ServerNames, err)
		}
	}
	if _, err := upstream.New(upstream.Options{CAs: "x"}); err == nil {
		t.Error("a text is a CA")
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://a", "http://a:1/x?y=z", "https://[::1]:2/"} {
		if err := upstream.CheckURL(good, ""); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a", "//a", "file:///x", "https://u:p@a", "https://a#b", "https:///x", "javascript:alert(1)"} {
		if err := upstream.CheckURL(bad, ""); err == nil {
			t.Errorf("%s passes", bad)
		}
	}
	if upstream.CheckURL("http://a", "HTTPS://b") == nil {
		t.Error("from TLS to none")
	}
}

func TestPool(t *testing.T) {
	t.Parallel()
	s := serve(t)
	var p upstream.Pool
	get := func(name string, o upstream.Options) *upstream.Client {
		c, err := p.Get(name, o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one := get("a", upstream.Options{})
	if get("a", upstream.Options{}) != one || get("b", upstream.Options{}) == one || get("a", upstream.Options{CAs: ca(s)}) == one {
		t.Error("clients are kept by their name and options")
	}
	if _, err := p.Get("a", upstream.Options{CAs: "x"}); err == nil {
		t.Error("a text is a CA")
	}
}
