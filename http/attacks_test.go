package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	httpapi "github.com/coffer-secrets/coffer/http"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// attack is one bad request and the answers that it may get. What the listener
// deals with before any handler (slow peers, HTTP/2) is tested with it.
type attack struct {
	number int
	what   string
	send   string // as it goes over the wire
	status []int
}

// The attacks on paths that docs/reliability names, from the token that is kept
// from what is hidden. None may change anything or show the canary.
func pathAttacks(n *node) []attack {
	get := func(target string, headers ...string) string { return line("GET", target, n.app, headers...) }
	root := func(method, target string) string { return line(method, target, n.Root) }
	long := strings.Repeat("a", 33<<10)
	return []attack{
		{1, "encoded dots", get("/v1/kv/data/pub/%2e%2e/hidden/x"), []int{400}},
		{1, "encoded dots, mixed", get("/v1/kv/data/pub/.%2E/hidden/x"), []int{400}},
		{1, "encoded dot", get("/v1/kv/data/%2e/hidden/x"), []int{400}},
		{2, "double encoding", get("/v1/kv/data/pub/%252e%252e/hidden/x"), []int{404}},
		{2, "double encoded slash", get("/v1/kv/data/pub%252f..%252fhidden/x"), []int{404}},
		{2, "encoded slash", get("/v1/kv/data%2fhidden/x"), []int{400}},
		{2, "encoded slash in a name", get("/v1/kv/data/hidden%2Fx"), []int{400}},
		{3, "empty segment", get("/v1/kv/data//hidden/x"), []int{400}},
		{3, "empty first segment", get("/v1//kv/data/hidden/x"), []int{400}},
		{3, "two slashes at the root", get("//v1/kv/data/hidden/x"), []int{404}},
		{3, "a slash at the end", get("/v1/kv/data/hidden/x/"), []int{403}},
		{3, "two slashes at the end", get("/v1/kv/data/hidden/x//"), []int{400}},
		{3, "a dot", get("/v1/kv/data/./hidden/x"), []int{400}},
		{3, "dots before the API", get("/v1/../v1/kv/data/hidden/x"), []int{400}},
		{4, "backslashes", get(`/v1/kv/data/pub\..\hidden\x`), []int{400}},
		{4, "encoded backslash", get("/v1/kv/data/hidden%5cx"), []int{400}},
		{4, "encoded backslash, upper case", get("/v1/kv/data%5Chidden/x"), []int{400}},
		{5, "NUL", get("/v1/kv/data/hidden/x%00"), []int{400}},
		{5, "line end", get("/v1/kv/data/hidden/x%0d%0aX: y"), []int{400}},
		{5, "escape", get("/v1/kv/data/%1b[2J"), []int{400}},
		{5, "DEL", get("/v1/kv/data/%7f"), []int{400}},
		{6, "overlong UTF-8", get("/v1/kv/data/pub/%c0%ae%c0%ae/hidden/x"), []int{400}},
		{6, "overlong slash", get("/v1/kv/data%c0%afhidden/x"), []int{400}},
		{6, "not UTF-8", get("/v1/kv/data/%ff"), []int{400}},
		{6, "a surrogate", get("/v1/kv/data/%ed%a0%80"), []int{400}},
		{7, "a homoglyph", get("/v1/kv/data/hidd%d0%b5n/x"), []int{404}},
		{7, "zero width", get("/v1/kv/data/hidden%e2%80%8b/x"), []int{404}},
		{7, "right to left", get("/v1/kv/data/%e2%80%aenedd%69h/x"), []int{404}},
		{7, "a homoglyph of the mount", get("/v1/%d0%bav/data/hidden/x"), []int{403}},
		{7, "fullwidth slash", get("/v1/kv/data%ef%bc%8fhidden/x"), []int{403}},
		{7, "fullwidth dots", get("/v1/kv/data/pub/%ef%bc%8e%ef%bc%8e/hidden/x"), []int{404}},
		{8, "a long key", get("/v1/kv/data/" + long), []int{400}},
		{8, "a long mount", get("/v1/" + long), []int{400}},
		{9, "upper case", get("/v1/SYS/mounts"), []int{403}},
		{9, "upper case, root", root("GET", "/v1/SYS/Raw"), []int{404}},
		{9, "upper case of the mount", get("/v1/KV/data/hidden/x"), []int{403}},
		{9, "upper case of the API", root("GET", "/V1/sys/mounts"), []int{404}},
		{11, "a plus as a name", get("/v1/kv/data/pub/+"), []int{404}},
		{11, "a plus for a folder", get("/v1/kv/data/+/x"), []int{404}},
		{11, "a star", get("/v1/kv/data/*"), []int{404}},
		{11, "a plus for the mount", get("/v1/+/data/hidden/x"), []int{403}},
		{12, "LIST under a deny", line("LIST", "/v1/kv/metadata/hidden", n.app), []int{403}},
		{12, "LIST under a deny, with a slash", line("LIST", "/v1/kv/metadata/hidden/", n.app), []int{403}},
		{12, "list=true under a deny", get("/v1/kv/metadata/hidden?list=true"), []int{403}},
		{12, "SCAN under a deny", line("SCAN", "/v1/kv/metadata/hidden/", n.app), []int{403}},
		{12, "LIST of data", line("LIST", "/v1/kv/data/hidden", n.app), []int{403}},
		{13, "list=true on a delete", line("DELETE", "/v1/kv/data/hidden/x?list=true", n.app), []int{403}},
		{13, "method override", get("/v1/kv/data/pub/none", "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE"), []int{404}},
		{13, "method in lower case", line("get", "/v1/kv/data/hidden/x", n.app), []int{405}},
		{13, "PATCH", line("PATCH", "/v1/kv/data/hidden/x", n.app), []int{403}},
		{13, "HEAD", line("HEAD", "/v1/kv/data/hidden/x", n.app), []int{405}},
		{13, "CONNECT", line("CONNECT", "/v1/kv/data/hidden/x", n.app), []int{400, 405}},
		{13, "OPTIONS", line("OPTIONS", "/v1/kv/data/hidden/x", n.app), []int{405}},
		{13, "OPTIONS *", line("OPTIONS", "*", n.app), []int{200}}, // by net/http, without a word
		{14, "from data to metadata", get("/v1/kv/data/../metadata/hidden/x"), []int{400}},
		{14, "from data to metadata, encoded", get("/v1/kv/data/%2e%2e/metadata/hidden/x"), []int{400}},
		{14, "other parts of the engine", get("/v1/kv/subkeys/hidden/x"), []int{403}},
		{14, "metadata of what is hidden", get("/v1/kv/metadata/hidden/x"), []int{403}},
	}
}

func headerAttacks(n *node) []attack {
	get := func(headers ...string) string { return line("GET", "/v1/kv/data/hidden/x", n.app, headers...) }
	return []attack{
		{15, "two tokens", get("X-Vault-Token: " + n.Root), []int{400}},
		{15, "a token and a bearer", get("Authorization: Bearer " + n.Root), []int{400}},
		{16, "the root namespace", get("X-Vault-Namespace: root"), []int{403}},
		{16, "dots", get("X-Vault-Namespace: ../x"), []int{400}},
		{16, "twice", get("X-Vault-Namespace: root", "X-Vault-Namespace: x"), []int{400}},
		{17, "a forged address", get("X-Forwarded-For: 127.0.0.1"), []int{403}},
		{17, "a long chain", get("X-Forwarded-For: " + strings.Repeat("1.1.1.1,", 4000)), []int{403}},
		{17, "a zone", get("X-Forwarded-For: fe80::1%eth0"), []int{403}},
		{18, "a negative TTL", get("X-Vault-Wrap-TTL: -1"), []int{400}},
		{18, "an endless TTL", get("X-Vault-Wrap-TTL: 9e99"), []int{400}},
		{18, "wrapping a refusal", get("X-Vault-Wrap-TTL: 60"), []int{403}},
		{18, "wrapping without a token", line("PUT", "/v1/sys/wrapping/wrap", "", "X-Vault-Wrap-TTL: 60"), []int{400}},
		{19, "a folded header", get("X-Vault-Token: a\r\n b"), []int{400}},
		{19, "a bare CR", get("X-Vault-Namespace: a\rX-Vault-Token: b"), []int{400}},
		{19, "a NUL", get("X-Vault-Namespace: a\x00"), []int{400}},
		{19, "a space in a name", get("X-Vault-Token : " + n.Root), []int{400}},
		{20, "an absolute target", line("GET", "http://other.example/v1/kv/data/hidden/x", n.app), []int{403}},
		{20, "two hosts", get("Host: other"), []int{400}},
		{20, "a bad host", line("GET", "http://[::1/v1/sys/health", n.app), []int{400}},
		{21, "two lengths", get("Content-Length: 4", "Content-Length: 5"), []int{400}},
		{21, "a length that is none", get("Content-Length: +4"), []int{400}},
		{21, "an unknown encoding", get("Transfer-Encoding: xchunked"), []int{501}}, // net/http's own
		{21, "two encodings", get("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), []int{400, 501}},
		{22, "forwarding headers", get("X-Vault-Forward: active-node", "X-Coffer-Forwarded: 1", "X-Forwarded-Host: x", "Forwarded: for=127.0.0.1"), []int{403}},
		{22, "redirects off", get("X-Vault-No-Request-Forwarding: true"), []int{403}},
		{25, "too long and expected", line("PUT", "/v1/kv/data/pub/x", n.app, "Expect: 100-continue", "Content-Length: 99999999"), []int{413}},
		{25, "an unknown expectation", get("Expect: money"), []int{417}},
		{26, "an upgrade", get("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), []int{403}},
		{26, "an upgrade to HTTP/2", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), []int{403}},
	}
}

func TestAttacksOnPathsAndHeaders(t *testing.T) {
	t.Parallel()
	n := serving(t, kit.HTTP(func(h *httpapi.Config) { h.MaxBody = 1 << 20 }))
	for _, a := range append(pathAttacks(n), headerAttacks(n)...) {
		name := fmt.Sprintf("%d: %s", a.number, a.what)
		n.untouched(t, name, func() {
			r := wire(t, n.Server, a.send)
			if !slices.Contains(a.status, r.Status) {
				t.Errorf("%s: %d %s, want %v", name, r.Status, r.Raw, a.status)
			}
			if strings.Contains(string(r.Raw), canary) {
				t.Errorf("%s shows the secret: %s", name, r.Raw)
			}
			if r.Status == 400 && r.Header.Get("Content-Type") == "application/json" && strings.Join(r.Errors(), "") == "" {
				t.Errorf("%s: nothing says what is wrong", name)
			}
		})
	}
	for _, secret := range []string{canary, n.app, n.Root, "hidden"} {
		if strings.Contains(n.Log(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	// The node serves on, and what was attacked is there.
	if got := n.Get("kv/data/hidden/x").Text("data", "data", "v"); got != canary {
		t.Errorf("read %q", got)
	}
}

// Attack 10: names that would hide, or be, the system's own paths.
func TestAttacksOnMountNames(t *testing.T) {
	t.Parallel()
	n := serving(t)
	for _, path := range []string{
		"sys", "sys/x", "auth", "auth/x", "auth/token", "cubbyhole", "cubbyhole/x", "identity/x", "kv", "kv/data", "kv/x", "ol%64",
		"..", "a//b", "a/../sys", "%2e%2e", "a%2fb", "a%00", "a\\b", strings.Repeat("a", 3000),
	} {
		n.untouched(t, "a mount at "+path, func() {
			r := n.Do(kit.Request{Method: "PUT", Path: "sys/mounts/" + path, Body: `{"type": "kv"}`})
			if r.Status != 400 || len(r.Errors()) == 0 {
				t.Errorf("a mount at %.40q: %d %s", path, r.Status, r.Raw)
			}
		})
	}
	n.untouched(t, "moving over the system", func() {
		for _, to := range []string{"sys", "auth/x", "cubbyhole", "old", "kv/x", "../x"} {
			if r := n.Do(kit.Request{Method: "PUT", Path: "sys/remount", Body: map[string]any{"from": "kv", "to": to}}); r.Status != 400 {
				t.Errorf("moved to %s: %d %s", to, r.Status, r.Raw)
			}
		}
	})
}

// Attacks 28 to 39: bodies.
func TestAttacksOnBodies(t *testing.T) {
	t.Parallel()
	n := serving(t)
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte(`{"data": {"v": "` + strings.Repeat("0", 1<<20) + `"}}`))
	_ = w.Close()
	list, err := json.Marshal(map[string]any{"paths": strings.Split(strings.Repeat("a/b,", 100_000)+"a", ",")})
	if err != nil {
		t.Fatal(err)
	}
	nested := strings.Repeat("[", 1_000_000)
	for _, a := range []struct {
		number int
		path   string
		body   any
		status int
		says   string
	}{
		{28, "kv/data/pub/x", nested, 400, "..."},
		{28, "kv/data/pub/x", `{"data": {"v": ` + nested + strings.Repeat("]", 1_000_000) + `}}`, 400, "..."},
		{28, "kv/data/pub/x", `{"data": ` + strings.Repeat(`{"a":`, 100_000) + `1` + strings.Repeat(`}`, 100_000) + `}`, 400, "..."},
		{28, "sys/init", nested, 400, "..."},
		{29, "kv/data/pub/x", `{"data": {"v": [` + strings.Repeat(`"",`, 1_000_000) + `""]}}`, 400, "..."},
		{30, "kv/data/pub/x", `{"data": {"v": 1}, "data": {"v": 2}}`, 400, "..."},
		{30, "kv/data/pub/x", `{"data": {"v": 1, "v": 2}}`, 400, "..."},
		{30, "kv/data/pub/x", `{"data": {"v": 1, "\u0076": 2}}`, 400, "..."},
		{31, "auth/token/create", `{"ttl": 1e400}`, 400, `field "ttl": ...`},
		{31, "auth/token/create", `{"ttl": 99999999999999999999}`, 400, `field "ttl": ...`},
		{31, "auth/token/create", `{"num_uses": 1e30}`, 400, `field "num_uses": ...`},
		{31, "auth/token/create", `{"num_uses": 1.5}`, 400, `field "num_uses": ...`},
		{31, "auth/token/create", `{"num_uses": -1}`, 400, "..."},
		{31, "kv/data/pub/x", `{"data": {}, "options": {"cas": 9223372036854775808}}`, 400, "..."},
		{31, "kv/data/pub/x", `{"data": {}, "options": {"cas": -1}}`, 400, "..."},
		{31, "kv/data/pub/x", `{"data": {"v": NaN}}`, 400, "..."},
		{32, "auth/token/create", `{"ttl": "9999999999h"}`, 400, `field "ttl": ...`},
		{32, "auth/token/create", `{"ttl": "-1s"}`, 400, `field "ttl": ...`},
		{32, "auth/token/create", `{"ttl": "1h 2m"}`, 400, `field "ttl": ...`},
		{32, "auth/token/create", `{"ttl": [1]}`, 400, `field "ttl": ...`},
		{32, "sys/mounts/new", `{"type": "kv", "config": {"default_lease_ttl": "-1h"}}`, 400, "..."},
		{33, "kv/data/pub/x", `{"data": "x"}`, 400, `field "data": expected an object`},
		{33, "kv/data/pub/x", `{"data": [], "options": {}}`, 400, `field "data": expected an object`},
		{33, "kv/data/pub/x", `{"data": {}, "options": "x"}`, 400, `field "options": expected an object`},
		{33, "kv/delete/pub/x", `{"versions": "a"}`, 400, `field "versions": expected a list of integers`},
		{33, "kv/delete/pub/x", `{"versions": {"a": 1}}`, 400, `field "versions": expected a list of integers`},
		{33, "kv/metadata/pub/x", `{"max_versions": "many"}`, 400, `field "max_versions": expected an integer`},
		{33, "kv/metadata/pub/x", `{"custom_metadata": ["a"]}`, 400, "..."},
		{33, "auth/token/create", `{"policies": [1, {}]}`, 400, `field "policies": expected a list of strings`},
		{33, "auth/token/create", `{"meta": {"a": {}}}`, 400, "..."},
		{33, "auth/token/create", `{"renewable": "maybe"}`, 400, `field "renewable": expected a boolean`},
		{33, "sys/policies/acl/p", `{"policy": {}}`, 400, `field "policy": expected a string`},
		{33, "sys/policies/acl/p", `{"policy": "path \"a\" {"}`, 400, "failed to parse policy: ..."},
		{33, "sys/policies/acl/p", `{"policy": "path \"a\" { min_wrapping_ttl = 99999999999999999999 }"}`, 400, "failed to parse policy: ..."},
		{34, "kv/data/pub/x", zipped.Bytes(), 400, "..."},
		{36, "kv/data/pub/x", `{"data": {"v": 1}`, 400, "..."},
		{36, "kv/data/pub/x", `{"data": {}} {"data": {}}`, 400, "..."},
		{36, "kv/data/pub/x", "{\"data\": {\"v\": \"\xff\"}}", 400, "..."},
		{36, "kv/data/pub/x", `{"data": {"v": "\ud800"}}`, 400, "..."},
		{37, "auth/token/revoke", `{"token": null}`, 400, "..."},
		{37, "auth/token/revoke-accessor", `{"accessor": null}`, 400, "..."},
		{37, "sys/wrapping/lookup", `{"token": null}`, 400, "..."},
		{38, "sys/capabilities-self", list, 400, "..."},
	} {
		what := fmt.Sprintf("%d: %s %.60v", a.number, a.path, a.body)
		n.untouched(t, what, func() {
			r := n.Do(kit.Request{Method: "PUT", Path: a.path, Body: a.body})
			if r.Status != a.status || strings.Join(r.Errors(), "") == "" {
				t.Errorf("%s: %d %s, want %d", what, r.Status, r.Raw, a.status)
			}
			says(t, what, r, a.says)
		})
	}
	for _, begun := range []string{"Content-Length: 100\r\n\r\n{\"data\":", "Transfer-Encoding: chunked\r\n\r\n64\r\n{", "Transfer-Encoding: chunked\r\n\r\nzz\r\n"} {
		n.untouched(t, "36: a body that ends early", func() {
			text := strings.TrimSuffix(line("PUT", "/v1/kv/data/pub/x", n.Root), "\r\n") + begun
			if r := wire(t, n.Server, text); r.Status != 400 {
				t.Errorf("%q: %d %s", begun, r.Status, r.Raw)
			}
		})
	}
}

// Attack 39: pages without an end.
func TestAttacksOnPages(t *testing.T) {
	t.Parallel()
	n := serving(t)
	for _, c := range []struct {
		query  string
		status int
	}{
		{"limit=0", 200}, {"limit=1", 200}, {"after=a", 200}, {"after=zzz", 404}, {"after=%ff", 400}, {"limit=a", 400}, {"limit=1.5", 400},
		{"limit=99999999999999999999", 400}, {"limit=9223372036854775807", 200}, {"after=..%2f..%2fhidden", 200}, {"after=%00", 200},
	} {
		n.untouched(t, c.query, func() {
			r := n.Do(kit.Request{Method: "LIST", Path: "kv/metadata/pub?" + c.query, Token: n.app})
			if r.Status != c.status || strings.Contains(string(r.Raw), "hidden") {
				t.Errorf("%s: %d %s, want %d", c.query, r.Status, r.Raw, c.status)
			}
		})
	}
	if r := n.Do(kit.Request{Method: "LIST", Path: "kv/metadata/pub?limit=-1", Token: n.app}); r.Status >= 500 {
		t.Errorf("limit=-1: %d %s", r.Status, r.Raw)
	}
}
