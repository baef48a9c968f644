package system_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestPasswordPolicies(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	const policy = "length = 8\nrule \"charset\" { charset = \"abc\" }"
	s.Must(http.StatusNotFound, kit.Request{Method: "LIST", Path: "sys/policies/password"})
	s.Put("sys/policies/password/p", map[string]any{"policy": base64.StdEncoding.EncodeToString([]byte(policy))})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/policies/password/q", Body: map[string]any{"policy": "length = 1"}})
	if got := s.Get("sys/policies/password/p").Text("data", "policy"); got != policy {
		t.Errorf("policy %q", got)
	}
	if got := s.List("sys/policies/password").Strings("data", "keys"); !slices.Equal(got, []string{"p"}) {
		t.Errorf("policies %q", got)
	}
	if got := s.Get("sys/policies/password/p/generate").Text("data", "password"); len(got) != 8 || strings.Trim(got, "abc") != "" {
		t.Errorf("password %q", got)
	}
	if got := s.List("sys/policies/acl").Strings("data", "keys"); slices.Contains(got, "p") {
		t.Errorf("ACL policies %q", got)
	}
	s.Delete("sys/policies/password/p")
	s.Must(http.StatusNotFound, kit.Request{Path: "sys/policies/password/p/generate"})
}

func TestLockedUsers(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Put("sys/auth/userpass", map[string]any{"type": "userpass"})
	s.Put("auth/userpass/users/bob", map[string]any{"password": "right"})
	accessor := s.Get("sys/auth").Text("data", "userpass/", "accessor")
	login := func(password string) int {
		return s.Do(kit.Request{Method: http.MethodPut, Path: "auth/userpass/login/bob", Token: kit.NoToken, Body: map[string]any{"password": password}}).Status
	}
	for range 5 {
		login("wrong")
	}
	if login("right") == http.StatusOK {
		t.Fatal("not locked")
	}
	for _, path := range []string{"sys/locked-users", "sys/locked-users?mount_accessor=" + accessor} {
		got := string(s.Get(path).Raw)
		if !strings.Contains(got, `"alias_identifiers":["bob"]`) || !strings.Contains(got, accessor) || !strings.Contains(got, `"total":1`) {
			t.Errorf("locked: %s", got)
		}
	}
	if got := s.Get("sys/locked-users?mount_accessor=x"); fmt.Sprint(got.At("data", "total")) != "0" {
		t.Errorf("locked elsewhere: %s", got.Raw)
	}
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/locked-users/x/unlock/bob"})
	s.Put("sys/locked-users/"+accessor+"/unlock/bob", nil)
	if login("right") != http.StatusOK {
		t.Error("still locked")
	}
}

func TestLoggers(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	if got := s.Get("sys/loggers").Text("data", "core"); got != "debug" {
		t.Errorf("level %q", got)
	}
	s.Put("sys/loggers/core", map[string]any{"level": "error"})
	if got := s.Get("sys/loggers/core").Text("data", "core"); got != "error" {
		t.Errorf("level %q", got)
	}
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/loggers", Body: map[string]any{"level": "loud"}})
	s.Must(http.StatusNotFound, kit.Request{Method: http.MethodPut, Path: "sys/loggers/x", Body: map[string]any{"level": "info"}})
	s.Must(http.StatusNotFound, kit.Request{Path: "sys/loggers/x"})
	s.Delete("sys/loggers")
	if got := s.Get("sys/loggers").Text("data", "core"); got != "debug" {
		t.Errorf("level %q", got)
	}
}

func TestCountersAndInspection(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Login("default")
	s.Put("identity/entity", map[string]any{"name": "e"})
	if got := s.Get("sys/internal/counters/tokens"); fmt.Sprint(got.At("data", "counters", "service_tokens", "total")) != "2" {
		t.Errorf("tokens: %s", got.Raw)
	}
	if got := s.Get("sys/internal/counters/entities"); fmt.Sprint(got.At("data", "counters", "entities", "total")) != "1" {
		t.Errorf("entities: %s", got.Raw)
	}
	s.Get("sys/internal/counters/requests")
	if got := s.Get("sys/internal/inspect/request"); got.Text("data", "remote_address") != "127.0.0.1" {
		t.Errorf("request: %s", got.Raw)
	}
	for _, tag := range []string{"root", "uuid", "accessor", "storage"} {
		if list, _ := s.Get("sys/internal/inspect/router/"+tag).At("data", tag).([]any); len(list) != 4 {
			t.Errorf("%s: %v", tag, list)
		}
	}
	s.Must(http.StatusBadRequest, kit.Request{Path: "sys/internal/inspect/router/x"})
}

func TestPoliciesDetailedAndPatched(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	const text = `path "a" { capabilities = ["read"] }`
	s.Put("sys/policies/acl/app-a", map[string]any{"policy": text, "ttl": "1h"})
	s.Must(http.StatusNotFound, kit.Request{Method: http.MethodPatch, Path: "sys/policies/acl/app-b", Body: map[string]any{"policy": text}})
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPatch, Path: "sys/policies/acl/app-a", Body: map[string]any{"cas_required": true, "cas": 1}})
	got := s.Get("sys/policies/acl/app-a")
	if got.Text("data", "policy") != text || got.At("data", "cas_required") != true || got.Text("data", "expiration") == "" {
		t.Errorf("patched: %s", got.Raw)
	}
	if got := s.List("sys/policies/acl/app").Strings("data", "keys"); !slices.Equal(got, []string{"app-a"}) {
		t.Errorf("with a prefix: %q", got)
	}
	s.Must(http.StatusNotFound, kit.Request{Method: "LIST", Path: "sys/policies/detailed/acl/x"})
	got = s.List("sys/policies/detailed/acl")
	if got.Text("data", "key_info", "app-a", "policy") != text || got.At("data", "key_info", "root") == nil || !slices.Contains(got.Strings("data", "keys"), "default") {
		t.Errorf("detailed: %s", got.Raw)
	}
}

func TestRawWrite(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.RawStorage())
	s.Put("sys/config/cors", map[string]any{"allowed_origins": "https://a"})
	keys := s.List("sys/raw/63").Strings("data", "keys") // the table of settings
	if len(keys) != 1 {
		t.Fatalf("keys %q", keys)
	}
	value := strings.Replace(func() string {
		raw, err := base64.StdEncoding.DecodeString(s.Get("sys/raw/"+keys[0]).Text("data", "value"))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}(), "https://a", "https://b", 1)
	s.Put("sys/raw", map[string]any{"path": keys[0], "value": base64.StdEncoding.EncodeToString([]byte(value)), "encoding": "base64"})
	if got := s.Get("sys/config/cors").Strings("data", "allowed_origins"); !slices.Equal(got, []string{"https://b"}) {
		t.Errorf("origins %q", got)
	}
	for _, body := range []map[string]any{
		{"value": "x"}, {"path": "6362", "value": "x"}, {"path": keys[0], "value": "*", "encoding": "base64"}, {"path": keys[0], "value": "x", "compressed": true},
	} {
		s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/raw", Body: body})
	}
	s.Must(http.StatusForbidden, kit.Request{Method: http.MethodPut, Path: "sys/raw/62", Body: map[string]any{"value": "x"}})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodDelete, Path: "sys/raw"})
	s.Delete("sys/raw?path=" + keys[0])
	if got := s.Get("sys/config/cors").At("data", "enabled"); got != false {
		t.Errorf("enabled %v", got)
	}
}
