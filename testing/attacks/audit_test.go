package attacks_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// audited is a node whose audit files are in a folder within another, which has
// a file that is none of the node's business.
func audited(t testing.TB) (n *node, folder string) {
	t.Helper()
	outer := t.TempDir()
	folder = filepath.Join(outer, "audit")
	if err := os.WriteFile(filepath.Join(outer, "victim"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	return serving(t, kit.Core(func(c *core.Config) { c.Audit.Folder = folder })), folder
}

// tree lists the files of a folder with their modes.
func tree(t testing.TB, folder string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			out = append(out, path+" "+info.Mode().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAttack84Devices: over the API a device writes records, whole and nothing
// else, to a file in the folder that is for them.
func TestAttack84Devices(t *testing.T) {
	t.Parallel()
	n, folder := audited(t)
	n.Put("sys/audit/file", body{"type": "file", "options": body{"file_path": "audit.log"}})
	outer := filepath.Dir(folder)
	for from, to := range map[string]string{"up": "..", "link": "../victim", "out": outer} {
		if err := os.Symlink(to, filepath.Join(folder, from)); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, outer)
	options := func(more ...string) body {
		out := body{"file_path": "x.log"}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	for _, b := range []body{
		{"type": "file", "options": options("prefix", "#!/bin/sh\n")},
		{"type": "file", "options": options("prefix", "x")},
		{"type": "file", "options": options("mode", "0777")},
		{"type": "file", "options": options("mode", "0644")},
		{"type": "file", "options": options("mode", "04755")},
		{"type": "file", "options": options("mode", "0000")},
		{"type": "file", "options": options("mode", "rw")},
		{"type": "file", "options": options("format", "jsonx")},
		{"type": "file", "options": options("log_raw", "perhaps")},
		{"type": "file", "options": options("plugin", "x")},
		{"type": "file"},
		{"type": "../file", "options": options()},
		{"type": "", "options": options()},
		{"type": "exec", "options": body{"command": "/bin/sh"}},
		{"type": "socket", "options": body{"address": "127.0.0.1:1", "socket_type": "raw"}},
		{"type": "http", "options": body{"url": "file:///etc/passwd"}},
		{"type": "http", "options": body{"url": "gopher://127.0.0.1/"}},
		{"type": "http", "options": body{"url": "http://127.0.0.1:1/", "headers": "{\"A\\r\\nB\": \"c\"}"}},
		{"type": "http", "options": body{"url": "http://127.0.0.1:1/", "headers": "{\"A\": \"b\\r\\nC: d\"}"}},
		{"type": "syslog", "options": body{"facility": "x\ny"}},
	} {
		n.untouched("a device", func() {
			if r := n.post(n.Root, "sys/audit/other", b); r.Status != http.StatusBadRequest || len(r.Errors()) == 0 {
				t.Errorf("%v: %d %s", b, r.Status, r.Raw)
			}
		})
	}
	for _, path := range []string{
		"", ".", "..", "../x", "../victim", "../audit2/x", "a/../../victim", "./x", "a//b", filepath.Join(outer, "victim"), folder, folder + "/", folder + "/../victim", folder + "2/x",
		"/etc/cron.d/x", "/dev/null", "/dev/stdout", "/proc/self/mem", "discard", "link", "up/victim", "up/x", "out/x", "~/x", "a\x00b", strings.Repeat("x", 5000),
	} {
		n.untouched("a file", func() {
			if r := n.post(n.Root, "sys/audit/other", body{"type": "file", "options": body{"file_path": path}}); r.Status != http.StatusBadRequest {
				t.Errorf("%.80q: %d %s", path, r.Status, r.Raw)
			}
		})
	}
	for _, name := range []string{"..", "a/../b", "a%00", "a%0a", "%1b%5b2J", "file", "file/", "file/x/..", strings.Repeat("x", 3000)} {
		n.untouched("a name", func() {
			r := n.post(n.Root, "sys/audit/"+name, body{"type": "file", "options": body{"file_path": "y.log"}})
			if r.Status != http.StatusBadRequest {
				t.Errorf("the name %.40q: %d %s", name, r.Status, r.Raw)
			}
		})
	}
	if after := tree(t, outer); !slices.Equal(before, after) {
		t.Errorf("there is now\n%s, was\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	if text, err := os.ReadFile(filepath.Join(outer, "victim")); err != nil || string(text) != "mine" {
		t.Errorf("the other's file holds %q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(folder, "audit.log")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// TestAttack84Injection: nothing that a caller sends begins a line, or speaks to
// a terminal, in records or in the log.
func TestAttack84Injection(t *testing.T) {
	t.Parallel()
	n, folder := audited(t)
	n.Put("sys/audit/file", body{"type": "file", "options": body{"file_path": "audit.log"}})
	for _, name := range []string{"user-agent", "x-note"} {
		n.Put("sys/config/auditing/request-headers/"+name, body{"hmac": false})
	}
	n.Put("sys/auth/userpass", body{"type": "userpass"})
	// A line of its own, a colour, a title, the other direction, a line by Unicode,
	// the end of the JSON, C1 controls, tags.
	evil := []string{
		"\n{\"type\":\"response\",\"forged\":true}", "\r\nforged", "\x1b[31m", "\x1b]0;x\x07", "\u202eforged", "\u2028forged", "\"},\"forged\":true,{\"", "\u009b31m", "\u0085forged", "\x00", "\x7f", "\U000e0041",
		"\\n\\u001b", "\ufeff",
	}
	escape := strings.NewReplacer("\n", "%0a", "\r", "%0d", "\x1b", "%1b", "\x07", "%07", "\x00", "%00", "\x7f", "%7f", "\"", "%22", " ", "%20", "{", "%7b", "}", "%7d", "\\", "%5c")
	for _, text := range evil {
		n.Do(kit.Request{Path: "none/" + escape.Replace(text)})
		n.Do(kit.Request{Path: "kv/data/x?version=" + escape.Replace(text)})
		n.post(n.Root, "kv/data/x", body{"data": body{text: text}, text: text})
		n.post(n.Root, "sys/mounts/new"+escape.Replace(text), body{"type": text, "description": text})
		n.post(n.Root, "auth/token/create", body{"display_name": text, "meta": body{"a" + text: text}, "policies": text})
		n.post(n.Root, "identity/entity", body{"name": "e" + text, "metadata": body{"a" + text: text}})
		n.post(kit.NoToken, "auth/userpass/login/"+escape.Replace(text), body{"password": text})
		n.post(n.Root, "sys/policies/acl/p"+escape.Replace(text), body{"policy": text})
		n.post(n.Root, "sys/audit/x"+escape.Replace(text), body{"type": text, "options": body{"file_path": text}})
		n.post(kit.NoToken, "sys/unseal", body{"key": text})
		if !strings.ContainsAny(text, "\r\n\x00\x1b\x07\x7f") { // the client refuses to send those
			n.Do(kit.Request{Path: "sys/mounts", Header: http.Header{"User-Agent": {text}, "X-Note": {text}}, Token: "x"})
			n.Do(kit.Request{Path: "sys/mounts", Token: text})
		}
	}
	n.Do(kit.Request{Path: "sys/mounts", Header: http.Header{"User-Agent": {"\xff\xfe"}, "X-Note": {"tab\there"}}})
	n.Close()
	records, err := os.ReadFile(filepath.Join(folder, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	if count := bytes.Count(records, []byte("\n")); count < 20*len(evil) {
		t.Errorf("there are %d records only", count)
	}
	for i, line := range bytes.Split(bytes.TrimSuffix(records, []byte("\n")), []byte("\n")) {
		var record struct {
			Type    string         `json:"type"`
			Time    string         `json:"time"`
			Request map[string]any `json:"request"`
			Forged  any            `json:"forged"`
		}
		if err := json.Unmarshal(line, &record); err != nil || record.Time == "" || record.Request["id"] == nil || record.Forged != nil ||
			record.Type != "request" && record.Type != "response" {
			t.Errorf("line %d is no record: %v, %.200q", i, err, line)
		}
	}
	for where, text := range map[string]string{"a record": string(records), "the log": n.Log()} {
		for _, r := range text {
			if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) || strings.ContainsRune("\u202e\u2028\u2029\ufeff\ufffd\U000e0041", r) {
				t.Errorf("%s holds %U", where, r)
				break
			}
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(n.Log(), "\n"), "\n") {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of the log is %q", line)
		}
	}
}
