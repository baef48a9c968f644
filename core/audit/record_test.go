package audit_test

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

var rewrite = flag.Bool("rewrite", false, "write the golden records anew")

// stable makes what differs from run to run the same.
func stable(text string, known map[string]string) string {
	for hash, name := range known {
		text = strings.ReplaceAll(text, hash, "<"+name+">")
	}
	for _, r := range [][2]string{
		{`"time":"[^"]+"`, `"time":"<time>"`}, {`"token_issue_time":"[^"]+"`, `"token_issue_time":"<time>"`},
		{`"creation_time":"[^"]+"`, `"creation_time":"<time>"`},
		{`"id":"[0-9a-f-]{36}"`, `"id":"<id>"`}, {`"mount_accessor":"([a-z_]+)_[0-9a-f]{8}"`, `"mount_accessor":"${1}_<id>"`},
		{`"remote_port":\d+`, `"remote_port":1`}, {`hmac-sha256:[0-9a-f]{64}`, `<hash>`},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

// TestGoldenRecords pins the form of the records.
func TestGoldenRecords(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("kv", "kv", map[string]string{"version": "2"})
	s.Mount("old", "kv", nil)
	s.Policy("app", `path "kv/data/app" { capabilities = ["create", "update", "read"] }`)
	app := s.Login("app")
	file := s.enable("file", nil)
	s.Put("sys/config/auditing/request-headers/X-Trace", body{"hmac": false})
	s.Put("sys/config/auditing/request-headers/X-Quiet", body{"hmac": true})
	start := len(records(t, file))

	headers := http.Header{"X-Trace": {"trace-1"}, "X-Quiet": {"quiet"}}
	s.Must(http.StatusOK, kit.Request{
		Method: http.MethodPut, Path: "kv/data/app", Token: app, Header: headers,
		Body: body{"data": body{"user": "bob", "pin": 1234, "ok": true, "list": []any{"x", nil}}, "options": body{"cas": 0}},
	})
	s.Must(http.StatusOK, kit.Request{Path: "kv/data/app?version=1", Token: app})
	s.Must(http.StatusForbidden, kit.Request{Path: "kv/data/other", Token: app})
	s.Must(http.StatusForbidden, kit.Request{Path: "kv/data/app", Token: "cfs.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})
	s.Must(http.StatusBadRequest, kit.Request{Path: "kv/data//app", Token: app})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "kv/data/app", Token: app, Body: `{"data": secret}`})
	s.Put("old/x", body{"a": "b", "n": 5})
	s.Get("old/x")
	s.List("old")
	s.Put("auth/token/create", body{"policies": []string{"app"}, "display_name": "ci", "meta": body{"team": "a"}})
	s.Must(http.StatusOK, kit.Request{Path: "old/x", Header: http.Header{"X-Vault-Wrap-Ttl": {"60"}}})
	s.Must(http.StatusNotFound, kit.Request{Path: "nowhere/at/all"})

	known := map[string]string{
		s.hash("file", app): "app's token", s.hash("file", s.Root): "root's token", s.hash("file", "bob"): "bob",
		s.hash("file", "1234"): "1234", s.hash("file", "true"): "true", s.hash("file", "quiet"): "quiet", s.hash("file", "b"): "b",
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	const wanted = 24 // a request and a response for each of the twelve
	got := stable(strings.Join(lines[start:start+wanted], ""), known)
	golden := filepath.Join("testdata", "golden.jsonl")
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(wantLines), len(gotLines)) {
		var w, g string
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if w != g {
			t.Errorf("record %d:\n got %s\nwant %s", i+1, g, w)
		}
	}
}
