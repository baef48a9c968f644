package attacks_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// unguessed is a name under the deny that the caller never says: he could only
// have it from an answer.
const unguessed = "uNgUeSsEd4711"

// parts are what version 2 of the engine has before a secret's name.
var parts = []string{"data", "metadata", "delete", "undelete", "destroy", "subkeys", "detailed-metadata"}

// fenced is a node on which a token may do everything but what is below hidden.
func fenced(t testing.TB) (n *node, token string) {
	t.Helper()
	n = serving(t)
	n.Mount("old", "kv", nil)
	for _, name := range []string{"x", unguessed} {
		n.Put("kv/data/hidden/"+name, body{"data": body{"v": canary}})
		n.Put("kv/data/hidden/deep/"+name, body{"data": body{"v": canary}})
		n.Put("old/hidden/"+name, body{"v": canary})
	}
	n.Put("kv/data/open", body{"data": body{"v": 1}})
	const all = `["create", "read", "update", "patch", "delete", "list", "scan", "sudo"]`
	rules := fmt.Sprintf("path \"kv/*\" { capabilities = %s }\npath \"old/*\" { capabilities = %s }\n", all, all)
	denied := []string{"old/hidden"}
	for _, part := range parts {
		denied = append(denied, "kv/"+part+"/hidden")
	}
	for _, path := range denied {
		rules += fmt.Sprintf("path %q { capabilities = [\"deny\"] }\npath %q { capabilities = [\"deny\"] }\n", path, path+"/*")
	}
	n.Policy("fenced", rules)
	return n, n.Login("fenced")
}

// speller spells what is under the deny in ways that somebody might take for
// something else.
type speller struct{ *rand.Rand }

func (s speller) one(list ...string) string { return list[s.IntN(len(list))] }

// target is a path under the deny, spelled anew.
func (s speller) target() string {
	var segments []string
	if s.IntN(3) == 0 {
		segments = []string{"old", "hidden"}
	} else {
		segments = []string{"kv", s.one(parts...), "hidden"}
	}
	segments = append(segments, s.one("x", "deep/x", "deep", "", "*", "+", "x/", "deep/", "none"))
	path := "/v1/" + strings.Join(segments, "/")
	for range s.IntN(4) {
		path = s.twist(path)
	}
	return path + s.query()
}

// twist changes a path somewhere.
func (s speller) twist(path string) string {
	at := 1 + s.IntN(len(path))
	before, after := path[:at], path[at:]
	switch s.IntN(9) {
	case 0: // a character as it may be encoded, or is not
		if after == "" {
			return path + "%20"
		}
		form := s.one("%%%02x", "%%%02X", "%%25%02x", "%%u00%02x", "%%c0%%%02x", "\\x%02x")
		return before + fmt.Sprintf(form, after[0]) + after[1:]
	case 1: // what is said to lead nowhere
		return strings.Replace(path, "/", s.one("//", "/./", "/x/../", "/%2e/", "/%2e%2e/", "/..;/", "/;/", "/%00/", "/ /"), 1+s.IntN(3))
	case 2:
		return before + s.one("/", "%2f", "%5c", `\`, "%252f", "%ef%bc%8f", "%00", "%0a", "%09", ";", "#", "?", "%3f", "%23", "*", "+", ".") + after
	case 3: // another form of a letter
		return strings.Replace(path, s.one("h", "i", "d", "e", "n", "k"), s.one("%E1%B8%A5", "%CE%B9", "%ef%bd%88", "h%CC%A3", "I", "K", "%E2%84%AA"), 1)
	case 4:
		return path + s.one("/", "//", "/.", "/..", "%20", "%00", ".json", "~", "?", "#", "/x/../../hidden/x", "/%2e%2e/hidden/x")
	case 5: // something before it
		return strings.Replace(path, "/v1/", s.one("/v1//", "/v1/./", "//v1/", "/v1/../v1/", "/v1/kv/data/open/../../../", "/v1/sys/../", "/V1/", "/v1/v1/", "http://other/v1/", "/v1/root/", "/v1/ns/../"), 1)
	case 6:
		return strings.ToUpper(before) + after
	case 7:
		return before + strings.ToUpper(after)
	}
	return strings.Replace(path, "hidden", s.one("hidden%20", "%20hidden", "hidden%E2%80%8B", "hid%C2%ADden", "hidde%6e", "%68idden", "%2568idden", "hidden;a=b", "hidden%2e", "./hidden", "hidden/."), 1)
}

func (s speller) query() string {
	return s.one("", "", "", "?list=true", "?list=1", "?scan=true", "?help=1", "?version=1", "?after=a", "?path=hidden/x", "?list=true&list=false", "?depth=9", "?limit=1&after=%2e%2e/", "?%6cist=true")
}

// request is a whole request, as it goes over the wire.
func (s speller) request(token string) string {
	method := s.one("GET", "GET", "GET", "LIST", "SCAN", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "list", "COPY", "MOVE", "PROPFIND")
	text := method + " " + s.target() + " HTTP/1.1\r\nHost: coffer\r\nConnection: close\r\nX-Vault-Token: " + token + "\r\n"
	for range s.IntN(3) {
		text += s.one(
			"X-HTTP-Method-Override: GET", "X-HTTP-Method: DELETE", "X-Method-Override: LIST", "X-Original-URL: /v1/kv/data/hidden/x", "X-Rewrite-URL: /v1/kv/data/hidden/x",
			"X-Forwarded-Prefix: /v1/kv/data/hidden", "X-Vault-Namespace: root", "X-Vault-Namespace: kv/data/hidden", "X-Vault-Wrap-TTL: 60", "X-Vault-Policy-Override: true",
			"X-Vault-Request: true", "X-Vault-No-Request-Forwarding: 1", "X-Forwarded-For: 127.0.0.1", "Content-Type: application/merge-patch+json",
		) + "\r\n"
	}
	payload := ""
	switch method {
	case "PUT", "POST", "PATCH":
		payload = s.one(`{"data": {"v": "changed"}}`, `{"v": "changed"}`, `{"versions": [1]}`, `{"data": {"v": "changed"}, "options": {"cas": 1}}`, `{"custom_metadata": {"a": "b"}}`, `{"max_versions": 1}`, `{"path": "hidden/x", "data": {}}`)
	}
	return text + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(payload), payload)
}

// say sends bytes and returns all that comes back.
func say(t testing.TB, url, text string) []byte {
	t.Helper()
	conn := dial(t, strings.TrimPrefix(url, "http://"))
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	_ = conn.CloseWrite()
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return answer
}

// TestScansLeaveOutWhatIsDenied: a scan of a folder shows what listing one folder
// after the other would, and so nothing below one that is denied.
func TestScansLeaveOutWhatIsDenied(t *testing.T) {
	t.Parallel()
	n, token := fenced(t)
	n.Put("kv/data/open/below", body{"data": body{}})
	n.Put("old/open", body{"v": 1})
	for path, want := range map[string]string{
		"kv/metadata/": "[open open/below]", "kv/metadata?limit=2": "[open open/below]", "kv/metadata?after=hidden/": "[open open/below]",
		"kv/metadata?after=hidden/deep/": "[open open/below]", "kv/detailed-metadata": "[open open/below]", "old/": "[open]", "old?limit=1": "[open]",
	} {
		r := n.Must(http.StatusOK, kit.Request{Method: "SCAN", Path: path, Token: token})
		if got := fmt.Sprint(r.Strings("data", "keys")); got != want || strings.Contains(string(r.Raw), unguessed) {
			t.Errorf("a scan of %s shows %s, want %s", path, r.Raw, want)
		}
	}
	if all := n.Must(http.StatusOK, kit.Request{Method: "SCAN", Path: "kv/metadata"}); !strings.Contains(string(all.Raw), unguessed) {
		t.Errorf("root is shown %s", all.Raw)
	}
}

// TestDeniedNamesAreOutOfReach: no operation, by any spelling of a path, reads
// or changes what is under a deny, or tells a name there.
func TestDeniedNamesAreOutOfReach(t *testing.T) {
	t.Parallel()
	n, token := fenced(t)
	now := func() string {
		var all strings.Builder
		for _, name := range []string{"x", unguessed, "deep/x", "deep/" + unguessed} {
			for _, path := range []string{"kv/data/hidden/", "kv/metadata/hidden/", "old/hidden/"} {
				r := n.Do(kit.Request{Path: path + name})
				fmt.Fprintln(&all, path, r.Status, r.At("data"))
			}
		}
		for _, path := range []string{"kv/metadata/hidden/", "kv/metadata/hidden/deep/", "old/hidden/"} {
			fmt.Fprintln(&all, path, n.List(path).Strings("data", "keys"))
		}
		return all.String()
	}
	before := now()
	seed := uint64(time.Now().UnixNano()) // #nosec G115 -- any will do
	t.Logf("seed %d", seed)
	s := speller{rand.New(rand.NewPCG(seed, 0))} // #nosec G404 -- a test's
	const rounds, each = 60, 50
	for range rounds {
		var sent []string
		for range each {
			text := s.request(token)
			sent = append(sent, text)
			answer := say(t, n.URL, text)
			if bytes.Contains(answer, []byte(canary)) || bytes.Contains(answer, []byte(unguessed)) {
				t.Fatalf("%q\nis answered %s", text, answer)
			}
			if bytes.HasPrefix(answer, []byte("HTTP/1.1 500")) {
				t.Fatalf("%q\nis answered %s", text, answer)
			}
		}
		if after := now(); after != before {
			t.Fatalf("one of these changes\n%s\nto\n%s:\n%q", before, after, sent)
		}
	}
	for _, path := range []string{"kv/data/hidden/x", "old/hidden/x"} {
		n.expect(path, n.Do(kit.Request{Path: path, Token: token}), http.StatusForbidden, "permission denied")
	}
}
