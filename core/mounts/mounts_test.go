package mounts_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// login is a way to log in that has nothing but one path.
func login() *engines.Engine {
	return &engines.Engine{
		Type: "test", Class: engines.ClassAuth, Help: "A way to log in for tests.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "Nothing.", Routes: nil}, nil
		},
	}
}

func put(s *kit.Server, path string, b any) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPut, Path: path, Body: b})
}

func refused(t *testing.T, r *kit.Response, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(strings.Join(r.Errors(), "\n"), text) {
		t.Errorf("answered %d %s, want %d with %q", r.Status, r.Raw, status, text)
	}
}

func number(t *testing.T, v any) string {
	t.Helper()
	n, ok := v.(json.Number)
	if !ok {
		t.Fatalf("%v is no number", v)
	}
	return n.String()
}

func TestEnableAndDisable(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Engines(login()))
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPost, Path: "sys/mounts/a/b", Body: body{
		"type": "kv", "description": "what for", "options": body{"version": "2"},
		"config": body{"default_lease_ttl": "1h", "max_lease_ttl": 7200, "listing_visibility": "hidden"},
	}})
	for _, r := range []*kit.Response{s.Get("sys/mounts/a/b"), kit.NewResponse(200, nil, sub(t, s.Get("sys/mounts"), "a/b/"))} {
		entry := r.Body
		if data, ok := entry["data"].(map[string]any); ok {
			entry = data
		}
		e := &kit.Response{Body: entry}
		if e.Text("type") != "kv" || e.Text("description") != "what for" || e.Text("options", "version") != "2" || e.Text("uuid") == "" ||
			!strings.HasPrefix(e.Text("accessor"), "kv_") || number(t, e.At("config", "default_lease_ttl")) != "3600" ||
			number(t, e.At("config", "max_lease_ttl")) != "7200" {
			t.Errorf("%s", r.Raw)
		}
	}
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPost, Path: "sys/auth/t", Body: body{"type": "test"}})
	if got := s.Get("sys/auth").Text("data", "t/", "type"); got != "test" {
		t.Errorf("auth mount %q", got)
	}
	if got := s.Get("sys/mounts").At("data", "auth/t/"); got != nil {
		t.Errorf("a way to log in is listed as a secrets engine: %v", got)
	}
	refused(t, s.Do(kit.Request{Method: http.MethodDelete, Path: "sys/mounts/auth/t"}), 400, "way to log in")
	s.Delete("sys/auth/t")
	s.Delete("sys/mounts/a/b")
	s.Delete("sys/mounts/a/b")
	refused(t, s.Do(kit.Request{Path: "sys/mounts/a/b"}), 400, "No secret engine mount at a/b/")
	s.Must(http.StatusNotFound, kit.Request{Path: "a/b/data/x"})
}

// sub is a member of an answer's data, as JSON.
func sub(t *testing.T, r *kit.Response, name string) []byte {
	t.Helper()
	text, err := json.Marshal(r.At("data", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestWhereNothingCanBeMounted(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Engines(login()))
	s.Mount("a/b", "kv", nil)
	before := s.Checksum()
	for path, text := range map[string]string{
		"a": "path is already in use at a/b/", "a/b": "path is already in use", "a/b/c": "path is already in use at a/b/",
		"sys/x": "reserved", "auth/x": "reserved", "cubbyhole": "reserved", "identity": "reserved", "audit": "reserved", "AUTH/x": "reserved",
		"x+y": "cannot have", "x*": "cannot have", "%7Bx%7D": "cannot have", strings.Repeat("x", 1100): "at most 1024",
	} {
		refused(t, put(s, "sys/mounts/"+path, body{"type": "kv"}), 400, text)
	}
	for _, c := range []struct {
		path string
		b    body
		text string
	}{
		{"sys/mounts/n", body{"type": "none"}, "unknown type"},
		{"sys/mounts/n", body{"type": "test"}, "unknown type"},
		{"sys/mounts/n", body{}, "type"},
		{"sys/mounts/n", body{"type": "system"}, "part of the system"},
		{"sys/mounts/n", body{"type": "cubbyhole"}, "part of the system"},
		{"sys/mounts/n", body{"type": "kv", "plugin_version": "v1"}, "plugin_version"},
		{"sys/mounts/n", body{"type": "kv", "config": body{"default_lease_ttl": "2h", "max_lease_ttl": "1h"}}, "greater than the effective max_lease_ttl"},
		{"sys/mounts/n", body{"type": "kv", "config": body{"default_lease_ttl": "never"}}, "default_lease_ttl"},
		{"sys/mounts/n", body{"type": "kv", "config": body{"listing_visibility": "all"}}, "listing_visibility"},
		{"sys/mounts/n", body{"type": "kv", "options": body{"version": "3"}}, "version"},
		{"sys/mounts/n", body{"type": "kv", "description": strings.Repeat("x", 5000)}, "description"},
		{"sys/auth/token", body{"type": "test"}, "not for a way to log in"},
		{"sys/auth/n", body{"type": "kv"}, "unknown type"},
		{"sys/auth/n", body{"type": "token"}, "part of the system"},
	} {
		refused(t, put(s, c.path, c.b), 400, c.text)
	}
	for _, path := range []string{"sys/mounts/sys", "sys/mounts/cubbyhole", "sys/auth/token"} {
		refused(t, s.Do(kit.Request{Method: http.MethodDelete, Path: path}), 400, "cannot disable")
	}
	refused(t, put(s, "sys/mounts/n", body{"type": "kv", "config": body{"allowed_response_headers": []string{strings.Repeat("x", 70000)}}}), 413, "larger than the limit")
	if s.Checksum() != before {
		t.Error("a refused change changed something")
	}
}

func TestDisableRemovesData(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("a", "kv", nil)
	s.Mount("b", "kv", nil)
	s.Put("a/x", body{"k": "v"})
	s.Put("b/x", body{"k": "v"})
	before := dataRows(t, s)
	s.Delete("sys/mounts/a")
	if after := dataRows(t, s); before-after != 1 {
		t.Errorf("%d rows of data before, %d after", before, after)
	}
	s.Mount("a", "kv", nil)
	s.Must(http.StatusNotFound, kit.Request{Path: "a/x"})
	if got := s.Get("b/x").Text("data", "k"); got != "v" {
		t.Errorf("the other mount lost its data: %q", got)
	}
}

func TestMoveKeepsData(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Engines(login()))
	s.Mount("old", "kv", nil)
	s.Mount("other", "kv", nil)
	s.Put("old/x", body{"k": "v"})
	accessor := s.Get("sys/mounts/old").Text("data", "accessor")
	id := s.Put("sys/remount", body{"from": "old", "to": "deep/new/"}).Text("migration_id")
	if got := s.Get("deep/new/x").Text("data", "k"); got != "v" {
		t.Errorf("read %q at the new path", got)
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "old/x"})
	if got := s.Get("sys/mounts/deep/new").Text("data", "accessor"); got != accessor {
		t.Error("the accessor changed")
	}
	status := s.Get("sys/remount/status/" + id)
	if status.Text("data", "migration_info", "status") != "success" || status.Text("data", "migration_info", "target_mount") != "deep/new/" {
		t.Errorf("%s", status.Raw)
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "sys/remount/status/none"})
	s.Put("sys/auth/t", body{"type": "test"})
	for _, c := range []struct{ from, to, text string }{
		{"none", "x", "no matching mount"},
		{"deep/new", "other", "already in use"},
		{"deep/new", "auth/x", "cannot move"},
		{"auth/t", "x", "cannot move"},
		{"deep/new", "sys/x", "reserved"},
		{"sys", "x", "part of the system"},
		{"auth/token", "auth/x", "part of the system"},
		{"auth/t", "auth/token", "not for a way to log in"},
	} {
		refused(t, put(s, "sys/remount", body{"from": c.from, "to": c.to}), 400, c.text)
	}
	s.Put("sys/remount", body{"from": "auth/t", "to": "auth/u"})
	if got := s.Get("sys/auth").Text("data", "u/", "type"); got != "test" {
		t.Error("a way to log in was not moved")
	}
}

func TestTune(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Limits(time.Hour, 10*time.Hour), kit.Engines(login()))
	s.Mount("a", "kv", nil)
	tuned := func(field string) any { return s.Get("sys/mounts/a/tune").At("data", field) }
	if number(t, tuned("default_lease_ttl")) != "3600" || number(t, tuned("max_lease_ttl")) != "36000" {
		t.Error("the system's limits are not effective")
	}
	s.Put("sys/mounts/a/tune", body{"default_lease_ttl": "2h", "description": "new", "listing_visibility": "unauth"})
	if number(t, tuned("default_lease_ttl")) != "7200" || tuned("description") != "new" || tuned("listing_visibility") != "unauth" {
		t.Errorf("%s", s.Get("sys/mounts/a/tune").Raw)
	}
	s.Put("sys/mounts/a/tune", body{"max_lease_ttl": "90m", "default_lease_ttl": "system"})
	if number(t, tuned("default_lease_ttl")) != "3600" || number(t, tuned("max_lease_ttl")) != "5400" || tuned("description") != "new" {
		t.Errorf("%s", s.Get("sys/mounts/a/tune").Raw)
	}
	refused(t, put(s, "sys/mounts/a/tune", body{"default_lease_ttl": "2h"}), 400, "greater than the effective max_lease_ttl")
	refused(t, put(s, "sys/mounts/none/tune", body{"description": "x"}), 400, "cannot fetch sysview")
	refused(t, s.Do(kit.Request{Path: "sys/mounts/none/tune"}), 400, "cannot fetch sysview")
	s.Put("sys/auth/t", body{"type": "test"})
	s.Put("sys/auth/t/tune", body{"token_type": "batch", "max_lease_ttl": "2h"})
	for _, path := range []string{"sys/auth/t/tune", "sys/mounts/auth/t/tune"} {
		if r := s.Get(path); r.Text("data", "token_type") != "batch" || number(t, r.At("data", "max_lease_ttl")) != "7200" {
			t.Errorf("%s: %s", path, r.Raw)
		}
	}
}

func TestUpgradeOfKV(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("kv", "kv", map[string]string{"version": "1"})
	s.Put("kv/deep/x", body{"k": "v"})
	s.Put("sys/mounts/kv/tune", body{"options": body{"version": "2"}})
	if got := s.Get("kv/data/deep/x").Text("data", "data", "k"); got != "v" {
		t.Errorf("read %q after the upgrade", got)
	}
	if got := s.Get("sys/mounts/kv").Text("data", "options", "version"); got != "2" {
		t.Errorf("version %q", got)
	}
	if r := put(s, "sys/mounts/kv/tune", body{"options": body{"version": "1"}}); r.Status != http.StatusBadRequest {
		t.Errorf("a downgrade was answered %d", r.Status)
	}
}

func TestTypesWithVersions(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	for typ, version := range map[string]string{"kv-v1": "1", "kv-v2": "2"} {
		s.Mount(typ, typ, nil)
		if got := s.Get("sys/mounts/" + typ); got.Text("data", "type") != "kv" || got.Text("data", "options", "version") != version {
			t.Errorf("%s: %s", typ, got.Raw)
		}
	}
}
