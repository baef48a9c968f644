package system_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestWhatANodeTells(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Core(func(c *core.Config) {
		c.Info.Sanitized = map[string]any{"log_level": "info"}
		c.Metrics = func() ([]byte, string, error) { return []byte("coffer_up 1\n"), "text/plain; version=0.0.4", nil }
	}))
	if r := s.Get("sys/metrics?format=prometheus"); string(r.Raw) != "coffer_up 1\n" || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s %s", r.Header.Get("Content-Type"), r.Raw)
	}
	refused(t, s.Do(kit.Request{Path: "sys/metrics?format=other"}), 400, "prometheus")
	if got := s.Get("sys/config/state/sanitized").Text("data", "log_level"); got != "info" {
		t.Errorf("log_level %q", got)
	}
	if got := s.Get("sys/host-info"); got.Text("data", "host", "hostname") == "" || got.At("data", "cpu") == nil {
		t.Errorf("%s", got.Raw)
	}
	status := s.Get("sys/ha-status")
	nodes, _ := status.At("nodes").([]any)
	if len(nodes) != 1 || nodes[0].(map[string]any)["active_node"] != true {
		t.Errorf("%s", status.Raw)
	}
	leader := s.Must(http.StatusOK, kit.Request{Path: "sys/leader", Token: kit.NoToken})
	if leader.At("is_self") != true || leader.Text("leader_address") == "" {
		t.Errorf("%s", leader.Raw)
	}
	health := s.Must(http.StatusOK, kit.Request{Path: "sys/health", Token: kit.NoToken})
	if health.At("initialized") != true || health.At("sealed") != false || health.At("standby") != false || health.Text("cluster_id") == "" {
		t.Errorf("%s", health.Raw)
	}
	plain := s.Login("default")
	for _, path := range []string{"sys/metrics", "sys/config/state/sanitized", "sys/host-info", "sys/ha-status", "sys/key-status", "sys/raw"} {
		s.Must(http.StatusForbidden, kit.Request{Path: path, Token: plain})
	}
}

func TestNodeWithoutMetrics(t *testing.T) {
	t.Parallel()
	refused(t, kit.New(t).Do(kit.Request{Path: "sys/metrics"}), 404, "no metrics")
}

func TestHealthBeforeServing(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Uninitialized())
	s.Must(http.StatusNotImplemented, kit.Request{Path: "sys/health", Token: kit.NoToken})
	s.Must(http.StatusAccepted, kit.Request{Path: "sys/health?uninitcode=202", Token: kit.NoToken})
	s.Init()
	s.Must(http.StatusServiceUnavailable, kit.Request{Path: "sys/health", Token: kit.NoToken})
	s.Must(http.StatusOK, kit.Request{Path: "sys/health?sealedcode=200", Token: kit.NoToken})
	s.Must(http.StatusBadRequest, kit.Request{Path: "sys/health?sealedcode=99", Token: kit.NoToken})
}

func TestRawStorage(t *testing.T) {
	t.Parallel()
	off := kit.New(t)
	for _, r := range []kit.Request{{Method: "LIST", Path: "sys/raw"}, {Path: "sys/raw/64"}, {Method: http.MethodDelete, Path: "sys/raw/64"}} {
		if got := off.Do(r); got.Status != http.StatusNotFound {
			t.Errorf("%s %s: %d though raw storage is off", r.Method, r.Path, got.Status)
		}
	}
	s := kit.New(t, kit.RawStorage())
	s.Policy("nosudo", `path "sys/raw*" { capabilities = ["read", "list", "delete"] }`)
	s.Must(http.StatusForbidden, kit.Request{Path: "sys/raw/64", Token: s.Login("nosudo")})
	keys := s.List("sys/raw").Strings("data", "keys")
	if len(keys) == 0 {
		t.Fatal("no rows")
	}
	for _, key := range keys {
		if strings.HasPrefix(key, "62") {
			t.Errorf("the keyring's row %s is listed", key)
		}
	}
	if got := s.Get("sys/raw/"+keys[0]).Text("data", "value"); got == "" {
		t.Error("an empty row")
	}
	if got := s.List("sys/raw?limit=2").Strings("data", "keys"); len(got) != 2 || got[1] != keys[1] {
		t.Errorf("page %q of %q", got, keys)
	}
	if got := s.List("sys/raw?after="+keys[0]+"&limit=1").Strings("data", "keys"); len(got) != 1 || got[0] != keys[1] {
		t.Errorf("page %q of %q", got, keys)
	}
	refused(t, s.Do(kit.Request{Path: "sys/raw/626b657972696e67"}), 403, "cannot be reached")
	refused(t, s.Do(kit.Request{Method: http.MethodDelete, Path: "sys/raw/626b657972696e67"}), 403, "cannot be reached")
	refused(t, s.Do(kit.Request{Path: "sys/raw/zz"}), 400, "not in hex")
}

func TestMountsForThePage(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("open", "kv", map[string]string{"version": "2"})
	s.Mount("shut", "kv", nil)
	s.Put("sys/mounts/open/tune", body{"listing_visibility": "unauth"})
	s.Policy("p", `path "shut/x" { capabilities = ["read"] }`)
	stranger := s.Must(http.StatusOK, kit.Request{Path: "sys/internal/ui/mounts", Token: kit.NoToken})
	secret, _ := stranger.At("data", "secret").(map[string]any)
	if len(secret) != 1 || secret["open/"] == nil || strings.Contains(string(stranger.Raw), "accessor") {
		t.Errorf("a stranger sees %s", stranger.Raw)
	}
	token := s.Login("p")
	known := s.Must(http.StatusOK, kit.Request{Path: "sys/internal/ui/mounts", Token: token})
	if known.At("data", "secret", "shut/") == nil || known.At("data", "secret", "open/") == nil {
		t.Errorf("%s", known.Raw)
	}
	one := s.Must(http.StatusOK, kit.Request{Path: "sys/internal/ui/mounts/shut/x", Token: token})
	if one.Text("data", "path") != "shut/" || one.Text("data", "type") != "kv" {
		t.Errorf("%s", one.Raw)
	}
	if got := s.Get("sys/internal/ui/mounts/open/data/x").Text("data", "options", "version"); got != "2" {
		t.Errorf("version %q", got)
	}
	refused(t, s.Do(kit.Request{Path: "sys/internal/ui/mounts/open/x", Token: token}), 403, "preflight capability check returned 403")
	refused(t, s.Do(kit.Request{Path: "sys/internal/ui/mounts/none/x", Token: token}), 403, "preflight capability check returned 403")
	if r := s.Do(kit.Request{Path: "sys/internal/ui/mounts/shut/x", Token: kit.NoToken}); r.Status == http.StatusOK {
		t.Errorf("a stranger is told of a mount: %s", r.Raw)
	}
	if acl := s.Must(http.StatusOK, kit.Request{Path: "sys/internal/ui/resultant-acl", Token: token}); acl.At("data", "exact_paths", "shut/x") == nil {
		t.Errorf("%s", acl.Raw)
	}
}

func TestOpenAPITellsNoMountsToStrangers(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("hidden", "kv", nil)
	stranger := s.Must(http.StatusOK, kit.Request{Path: "sys/internal/specs/openapi", Token: kit.NoToken})
	if !strings.HasPrefix(stranger.Text("openapi"), "3.") || stranger.At("paths", "/sys/mounts") == nil || strings.Contains(string(stranger.Raw), "hidden") {
		t.Errorf("%.300s", stranger.Raw)
	}
	if got := s.Get("sys/internal/specs/openapi"); !strings.Contains(string(got.Raw), "/hidden/") {
		t.Error("a mount is missing")
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	if got := s.Get("sys/config/cors").At("data", "enabled"); got != false {
		t.Errorf("enabled %v", got)
	}
	s.Put("sys/config/cors", body{"allowed_origins": "https://a.example,https://b.example", "allowed_headers": "X-Mine"})
	got := s.Get("sys/config/cors")
	same(t, got, []string{"https://a.example", "https://b.example"}, "data", "allowed_origins")
	if list := strings.Join(got.Strings("data", "allowed_headers"), ","); !strings.Contains(list, "X-Mine") || !strings.Contains(list, "X-Vault-Token") {
		t.Errorf("headers %s", list)
	}
	for _, b := range []body{{}, {"allowed_origins": "*,https://a.example"}, {"allowed_origins": "*", "allow_credentials": true}} {
		refused(t, put(s, "", "sys/config/cors", b), 400, "")
	}
	s.Delete("sys/config/cors")
	if got := s.Get("sys/config/cors").At("data", "enabled"); got != false {
		t.Errorf("enabled %v", got)
	}
	s.Must(http.StatusNotFound, kit.Request{Method: "LIST", Path: "sys/config/ui/headers"})
	s.Put("sys/config/ui/headers/X-Mine", body{"values": []string{"a", "b"}})
	same(t, s.List("sys/config/ui/headers"), []string{"x-mine"}, "data", "keys")
	same(t, s.Get("sys/config/ui/headers/x-mine?multivalue=true"), []string{"a", "b"}, "data", "values")
	refused(t, put(s, "", "sys/config/ui/headers/X-Vault-Token", body{"values": "x"}), 400, "cannot be set")
	refused(t, put(s, "", "sys/config/ui/headers/X-Mine", body{"values": "a\r\nb"}), 400, "control characters")
	refused(t, put(s, "", "sys/config/ui/headers/Transfer-Encoding", body{"values": "chunked"}), 400, "says what it sends")
	s.Delete("sys/config/ui/headers/X-Mine")
	s.Must(http.StatusNotFound, kit.Request{Path: "sys/config/ui/headers/x-mine"})
}

func TestTools(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	const abc = "YWJj"
	sum := s.Put("sys/tools/hash", body{"input": abc}).Text("data", "sum")
	if sum != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" { // FIPS 180-2, appendix B.1
		t.Errorf("sum %s", sum)
	}
	if got := s.Put("sys/tools/hash/sha3-256", body{"input": abc, "format": "base64"}).Text("data", "sum"); got != "Ophdp0/iJbIEXBcta9OQvYVfCG4+nVJbRr/iRRFDFTI=" {
		t.Errorf("sum %s", got)
	}
	for path, length := range map[string]int{"sys/tools/random": 32, "sys/tools/random/5": 5, "sys/tools/random/platform/7": 7} {
		if got := s.Put(path, body{"format": "hex"}).Text("data", "random_bytes"); len(got) != 2*length {
			t.Errorf("%s: %q", path, got)
		}
	}
	for path, b := range map[string]body{
		"sys/tools/hash": {"input": "!"}, "sys/tools/hash/md5": {"input": abc}, "sys/tools/random/0": {}, "sys/tools/random/999999999": {},
		"sys/tools/random/x/5": {}, "sys/tools/random": {"format": "text"},
	} {
		refused(t, put(s, "", path, b), 400, "")
	}
}
