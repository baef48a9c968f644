package httpapi_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	httpapi "github.com/coffer-secrets/coffer/http"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestListings(t *testing.T) {
	t.Parallel()
	n := serving(t)
	for _, r := range []kit.Request{
		{Method: "LIST", Path: "kv/metadata/pub"}, {Method: "LIST", Path: "kv/metadata/pub/"}, {Path: "kv/metadata/pub?list=true"},
		{Path: "kv/metadata/pub/?list=true"}, {Path: "kv/metadata/pub?list=1"}, {Method: "SCAN", Path: "kv/metadata/pub"}, {Path: "kv/metadata/pub?scan=true"},
	} {
		r.Token = n.app
		if got := n.Must(200, r).Strings("data", "keys"); len(got) != 1 || got[0] != "x" {
			t.Errorf("%s %s: %v", r.Method, r.Path, got)
		}
		r.Path = strings.Replace(r.Path, "pub", "hidden", 1)
		n.Must(403, r)
		r.Path = strings.Replace(r.Path, "hidden", "none", 1)
		n.Must(404, r)
	}
	// Anything else is no listing: a folder is nothing that could be read.
	for _, flag := range []string{"list=false", "list=yes", "list=", "LIST=true", "list=false&list=true"} {
		n.Must(404, kit.Request{Path: "kv/metadata/pub?" + flag, Token: n.app})
	}
	// On a write it means nothing.
	n.Must(200, kit.Request{Method: "PUT", Path: "kv/data/pub/y?list=true", Token: n.app, Body: `{"data": {}}`})
	n.Must(405, kit.Request{Method: "LIST", Path: "sys/health"})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	n := serving(t)
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	for _, c := range []struct {
		what    string
		headers []string
		status  int
	}{
		{"X-Vault-Token", []string{"X-Vault-Token", n.app}, 200},
		{"with space around", []string{"X-Vault-Token", " " + n.app + " "}, 200},
		{"Bearer", bearer(n.app), 200},
		{"bearer, in another case", []string{"Authorization", "bEARER " + n.app}, 200},
		{"both, the same", append(bearer(n.app), "X-Vault-Token", n.app), 200},
		{"both, different", append(bearer(n.app), "X-Vault-Token", n.Root), 400},
		{"twice, the same", []string{"X-Vault-Token", n.app, "X-Vault-Token", n.app}, 200},
		{"twice, different", []string{"X-Vault-Token", n.app, "X-Vault-Token", n.Root}, 400},
		{"an empty one and one", []string{"X-Vault-Token", "", "X-Vault-Token", n.app}, 200},
		{"another scheme", []string{"Authorization", "Basic " + n.app}, 400},
		{"the scheme alone", []string{"Authorization", "Bearer"}, 400},
		{"two in one", []string{"X-Vault-Token", n.app + "," + n.Root}, 403},
		{"too long", []string{"X-Vault-Token", strings.Repeat("a", 16<<10+1)}, 400},
		{"long", []string{"X-Vault-Token", strings.Repeat("a", 16<<10)}, 403},
		{"another case", []string{"X-Vault-Token", strings.ToUpper(n.app)}, 403},
		{"with X-Vault-Request", []string{"X-Vault-Token", n.app, "X-Vault-Request", "true"}, 200},
		{"with a false X-Vault-Request", []string{"X-Vault-Token", n.app, "X-Vault-Request", "no"}, 200},
	} {
		r := n.Do(kit.Request{Path: "kv/data/pub/x", Token: kit.NoToken, Header: header(c.headers...)})
		if r.Status != c.status {
			t.Errorf("%s: %d %s, want %d", c.what, r.Status, r.Raw, c.status)
		}
		if strings.Contains(string(r.Raw), n.app) || strings.Contains(string(r.Raw), n.Root) {
			t.Errorf("%s: the answer shows a token", c.what)
		}
	}
	if log := n.Log(); strings.Contains(log, n.app) || strings.Contains(log, n.Root) {
		t.Error("the log shows a token")
	}
}

func TestWrapTTL(t *testing.T) {
	t.Parallel()
	n := serving(t)
	for _, bad := range []string{"-1", "-1s", "9e99", "abc", "1d2", "99999999999999999999", "1h-1m", "\"60\"", "NaN", "0x10"} {
		n.untouched(t, "a wrap TTL of "+bad, func() {
			says(t, bad, n.Must(400, kit.Request{Path: "kv/data/pub/x", Header: header("X-Vault-Wrap-Ttl", bad)}), "X-Vault-Wrap-TTL: expected a duration such as \"5m\" or seconds")
		})
	}
	says(t, "a format", n.Must(400, kit.Request{Path: "kv/data/pub/x", Header: header("X-Vault-Wrap-Ttl", "60", "X-Vault-Wrap-Format", "jwt")}), "X-Vault-Wrap-Format: only the plain form is offered")
	if r := n.Must(200, kit.Request{Path: "kv/data/pub/x", Header: header("X-Vault-Wrap-Ttl", "0")}); r.At("wrap_info") != nil {
		t.Errorf("a TTL of 0 wraps: %s", r.Raw)
	}
	// An error is not wrapped, and leaves nothing.
	n.untouched(t, "wrapping an error", func() {
		n.Must(404, kit.Request{Path: "kv/data/none", Header: header("X-Vault-Wrap-Ttl", "60")})
		n.Must(403, kit.Request{Path: "kv/data/hidden/x", Token: n.app, Header: header("X-Vault-Wrap-Ttl", "60")})
	})
	r := n.Must(200, kit.Request{Path: "kv/data/pub/x", Token: n.app, Header: header("X-Vault-Wrap-Ttl", "60")})
	token := r.Text("wrap_info", "token")
	if token == "" || strings.Contains(string(r.Raw), canary) {
		t.Fatalf("wrapped: %s", r.Raw)
	}
	got := n.Must(200, kit.Request{Method: "PUT", Path: "sys/wrapping/unwrap", Token: token})
	if got.Text("data", "data", "v") != canary {
		t.Errorf("unwrapped: %s", got.Raw)
	}
	n.untouched(t, "unwrapping twice", func() {
		if r := n.Do(kit.Request{Method: "PUT", Path: "sys/wrapping/unwrap", Token: token}); r.Status != 400 && r.Status != 403 {
			t.Errorf("unwrapped twice: %d %s", r.Status, r.Raw)
		}
	})
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	n := serving(t)
	for _, c := range []struct {
		values []string
		status int
	}{
		{[]string{""}, 200}, {[]string{"root"}, 200}, {[]string{"/"}, 200}, {[]string{"root/"}, 200}, {[]string{"root", ""}, 200},
		{[]string{"a"}, 400}, {[]string{"../x"}, 400}, {[]string{"root/a"}, 400}, {[]string{"root", "a"}, 400}, {[]string{"ROOT"}, 400}, {[]string{"."}, 400},
	} {
		h := header()
		h["X-Vault-Namespace"] = c.values
		r := n.Must(c.status, kit.Request{Path: "kv/data/pub/x", Header: h})
		if c.status == 400 {
			says(t, strings.Join(c.values, "|"), r, "there is no such namespace: only the root namespace exists")
		}
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	n := serving(t)
	page := func(origin string, more ...string) kit.Request {
		return kit.Request{Path: "kv/data/pub/x", Header: header(append([]string{"Origin", origin}, more...)...)}
	}
	if r := n.Must(200, page("https://a.example")); r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("allowed without being enabled")
	}
	n.Put("sys/config/cors", map[string]any{"allowed_origins": []string{"https://a.example"}, "allowed_headers": []string{"X-Own"}})
	r := n.Must(200, page("https://a.example"))
	if r.Header.Get("Access-Control-Allow-Origin") != "https://a.example" || r.Header.Get("Vary") != "Origin" {
		t.Errorf("headers %v", r.Header)
	}
	for _, origin := range []string{"https://b.example", "https://a.example.evil", "http://a.example", "null", "https://A.example"} {
		r := n.Must(403, page(origin))
		if r.Header.Get("Access-Control-Allow-Origin") != "" || strings.Contains(string(r.Raw), canary) {
			t.Errorf("%s: %v %s", origin, r.Header, r.Raw)
		}
	}
	ask := page("https://a.example", "Access-Control-Request-Method", "LIST")
	ask.Method, ask.Token = "OPTIONS", kit.NoToken
	r = n.Must(204, ask)
	if !strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "LIST") || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "X-Own") {
		t.Errorf("preflight: %v", r.Header)
	}
	ask.Header.Set("Access-Control-Request-Method", "TRACE")
	n.Must(405, ask)
	ask.Header.Del("Origin")
	n.Must(405, ask)
	n.Core.Seal()
	n.Must(200, kit.Request{Path: "sys/seal-status", Header: header("Origin", "https://b.example")})
}

func TestForwardedFor(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	loopback := []netip.Prefix{prefix("127.0.0.0/8"), prefix("::1/128")}
	elsewhere := []netip.Prefix{prefix("10.0.0.0/8")}
	for i, c := range []struct {
		proxies httpapi.Proxies
		headers []string
		want    string // the client's address; "" for a refusal
	}{
		{httpapi.Proxies{}, nil, "127.0.0.1"},
		{httpapi.Proxies{}, []string{"1.2.3.4"}, "127.0.0.1"},
		{httpapi.Proxies{Trusted: loopback}, nil, "127.0.0.1"},
		{httpapi.Proxies{Trusted: loopback}, []string{"1.2.3.4"}, "1.2.3.4"},
		{httpapi.Proxies{Trusted: loopback}, []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4"},
		{httpapi.Proxies{Trusted: loopback}, []string{"6.6.6.6", "1.2.3.4"}, "1.2.3.4"},
		{httpapi.Proxies{Trusted: loopback}, []string{"::ffff:1.2.3.4"}, "1.2.3.4"},
		{httpapi.Proxies{Trusted: loopback}, []string{"fe80::1%eth0"}, "fe80::1"},
		{httpapi.Proxies{Trusted: loopback}, []string{strings.Repeat("6.6.6.6,", 2000) + "1.2.3.4"}, "1.2.3.4"},
		{httpapi.Proxies{Trusted: loopback}, []string{"1.2.3.4, evil"}, ""},
		{httpapi.Proxies{Trusted: loopback}, []string{"1.2.3.4,"}, ""},
		{httpapi.Proxies{Trusted: loopback}, []string{""}, ""},
		{httpapi.Proxies{Trusted: loopback}, []string{"1.2.3.4:80"}, ""},
		{httpapi.Proxies{Trusted: loopback, Hops: 1}, []string{"1.2.3.4, 10.0.0.1"}, "1.2.3.4"},
		{httpapi.Proxies{Trusted: loopback, Hops: 1}, []string{"1.2.3.4"}, ""},
		{httpapi.Proxies{Trusted: loopback, Required: true}, nil, ""},
		{httpapi.Proxies{Trusted: elsewhere}, []string{"1.2.3.4"}, ""},
		{httpapi.Proxies{Trusted: elsewhere, Lenient: true}, []string{"1.2.3.4"}, "127.0.0.1"},
		{httpapi.Proxies{Trusted: elsewhere}, nil, "127.0.0.1"},
	} {
		h := header()
		h["X-Forwarded-For"] = c.headers
		addr, err := c.proxies.ClientAddr(&http.Request{RemoteAddr: "127.0.0.1:4711", Header: h})
		if got := addr.String(); err == nil && got != c.want || err != nil && (c.want != "" || engines.KindOf(err) != engines.KindInvalid) {
			t.Errorf("%d: %.60v: %q and %v, want %q", i, c.headers, got, err, c.want)
		}
	}
	// What a token is bound to is the address found so.
	s := kit.New(t, kit.HTTP(func(h *httpapi.Config) { h.Proxies = httpapi.Proxies{Trusted: loopback} }))
	s.Put("auth/token/roles/bound", map[string]any{"token_bound_cidrs": []string{"1.2.3.0/24"}})
	bound := s.Put("auth/token/create/bound", nil).Text("auth", "client_token")
	for client, status := range map[string]int{"1.2.3.4": 200, "1.2.4.4": 403, "6.6.6.6, 1.2.3.4": 200, "1.2.3.4, 6.6.6.6": 403, "evil": 400} {
		s.Must(status, kit.Request{Path: "auth/token/lookup-self", Token: bound, Header: header("X-Forwarded-For", client)})
	}
	s.Must(403, kit.Request{Path: "auth/token/lookup-self", Token: bound})
}

// A body is taken up to the limit, however its length is told.
func TestBodyLimit(t *testing.T) {
	t.Parallel()
	const limit = 4096
	n := serving(t, kit.HTTP(func(h *httpapi.Config) { h.MaxBody = limit }))
	body := func(size int) string {
		text := `{"data": {"v": "`
		return text + strings.Repeat("x", size-len(text)-3) + `"}}`
	}
	write := func(size int) kit.Request {
		return kit.Request{Method: "PUT", Path: "kv/data/pub/size", Body: body(size)}
	}
	n.Must(200, write(limit-1))
	n.Must(200, write(limit))
	n.untouched(t, "a body over the limit", func() {
		says(t, "one byte more", n.Must(413, write(limit+1)), "the request's body is larger than the limit of 4096 bytes")
		n.Must(413, write(10*limit))
		text := body(limit + 1)
		chunked := strings.Replace(line("PUT", "/v1/kv/data/pub/size", n.Root, "Transfer-Encoding: chunked"), "\r\n\r\n", fmt.Sprintf("\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(text), text), 1)
		if r := wire(t, n.Server, chunked); r.Status != 413 {
			t.Errorf("chunked: %d %s", r.Status, r.Raw)
		}
	})
}

func TestHeadersOfTheListener(t *testing.T) {
	t.Parallel()
	var seen []int
	s := kit.New(t, kit.HTTP(func(h *httpapi.Config) { h.Headers = map[string]string{"X-Own": "1"} }))
	for _, r := range []kit.Request{{Path: "sys/health"}, {Path: "nowhere/x"}, {Path: "sys/mounts", Token: kit.NoToken}, {Method: "PUT", Path: "x", Body: "{"}} {
		got := s.Do(r)
		seen = append(seen, got.Status)
		if got.Header.Get("X-Own") != "1" || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", r.Path, got.Header)
		}
	}
	if want := fmt.Sprint([]int{200, 404, 400, 400}); fmt.Sprint(seen) != want {
		t.Errorf("statuses %v, want %v", seen, want)
	}
}
