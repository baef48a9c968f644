package config_test

import (
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

const full = `
# A comment
storage "raft" {
  path                   = "/var/lib/coffer"
  node_id                = "a"
  log_store              = "wal"
  performance_multiplier = 2
  trailing_logs          = 1000
  snapshot_threshold     = "2000"
  snapshot_interval      = "30s"
  max_entry_size         = "2MiB"
  retry_join {
    leader_api_addr     = "https://b:8200"
    leader_ca_cert_file = "/etc/ca.pem"
  }
  retry_join {
    leader_api_addr = "https://c:8200"
  }
}
listener "tcp" {
  address                  = "0.0.0.0:8200"
  cluster_address          = "0.0.0.0:8201"
  tls_cert_file            = "/etc/cert.pem"
  tls_key_file             = "/etc/key.pem"
  tls_min_version          = "tls13"
  tls_cipher_suites        = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
  tls_client_ca_file       = "/etc/ca.pem"
  tls_require_and_verify_client_cert = true
  max_request_size         = 1048576
  max_request_duration     = "30s"
  http_read_timeout        = "1m"
  x_forwarded_for_authorized_addrs = ["10.0.0.0/8", "192.0.2.1"]
  x_forwarded_for_hop_skips = 1
  x_forwarded_for_reject_not_authorized = false
  custom_response_headers {
    "default" = { "x-frame" = ["a", "b"] }
    "4xx" = { "x-oops" = "yes" }
  }
  telemetry { unauthenticated_metrics_access = true }
  profiling { unauthenticated_pprof_access = "true" }
}
listener "unix" {
  address      = "/run/coffer.sock"
  socket_mode  = "0660"
  socket_group = "coffer"
}
seal "static" {
  disabled       = true
  current_key_id = "x"
  current_key    = "file:///k"
}
seal "transit" {
  address = "https://other:8200"
  token = "t0ken"
  key_name = "unseal"
}
api_addr = "https://a:8200"
cluster_addr = "https://a:8201"
cluster_name = "prod"
default_lease_ttl = "1h"
max_lease_ttl = "30d"
log_level = "DEBUG"
log_format = "json"
ui = true
raw_storage_endpoint = true
telemetry {
  prometheus_retention_time = "24h"
  disable_hostname = true
}
`

const fullJSON = `{
  "storage": {"raft": {
    "path": "/var/lib/coffer", "node_id": "a", "log_store": "wal", "performance_multiplier": 2,
    "trailing_logs": 1000, "snapshot_threshold": "2000", "snapshot_interval": 30, "max_entry_size": "2MiB",
    "retry_join": [
      {"leader_api_addr": "https://b:8200", "leader_ca_cert_file": "/etc/ca.pem"},
      {"leader_api_addr": "https://c:8200"}
    ]
  }},
  "listener": [
    {"tcp": {
      "address": "0.0.0.0:8200", "cluster_address": "0.0.0.0:8201",
      "tls_cert_file": "/etc/cert.pem", "tls_key_file": "/etc/key.pem", "tls_min_version": "tls13",
      "tls_cipher_suites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
      "tls_client_ca_file": "/etc/ca.pem", "tls_require_and_verify_client_cert": "1",
      "max_request_size": 1048576, "max_request_duration": "30s", "http_read_timeout": "60",
      "x_forwarded_for_authorized_addrs": "10.0.0.0/8,192.0.2.1", "x_forwarded_for_hop_skips": "1",
      "x_forwarded_for_reject_not_authorized": "false",
      "custom_response_headers": {"default": {"x-frame": ["a", "b"]}, "4xx": {"x-oops": "yes"}},
      "telemetry": {"unauthenticated_metrics_access": true},
      "profiling": {"unauthenticated_pprof_access": true}
    }},
    {"unix": {"address": "/run/coffer.sock", "socket_mode": "660", "socket_group": "coffer"}}
  ],
  "seal": [
    {"static": {"disabled": "true", "current_key_id": "x", "current_key": "file:///k"}},
    {"transit": {"address": "https://other:8200", "token": "t0ken", "key_name": "unseal"}}
  ],
  "api_addr": "https://a:8200", "cluster_addr": "https://a:8201", "cluster_name": "prod",
  "default_lease_ttl": 3600, "max_lease_ttl": "720h", "log_level": "debug", "log_format": "json", "ui": true,
  "raw_storage_endpoint": true,
  "telemetry": [{"prometheus_retention_time": "24h", "disable_hostname": 1}]
}`

func TestBothSyntaxesMeanTheSame(t *testing.T) {
	for name, text := range map[string]string{"HCL": full, "JSON": fullJSON, "HCL with CRLF": strings.ReplaceAll(full, "\n", "\r\n")} {
		t.Run(name, func(t *testing.T) { checkFull(t, parse(t, text)) })
	}
}

func checkFull(t *testing.T, c *config.Config) {
	t.Helper()
	s := c.Storage
	same(t, "path", s.Path, "/var/lib/coffer")
	same(t, "node_id", s.NodeID, "a")
	same(t, "log_store", s.LogStore, config.LogStoreWAL)
	same(t, "performance_multiplier", s.PerformanceMultiplier, 2)
	same(t, "trailing_logs", s.TrailingLogs, 1000)
	same(t, "snapshot_threshold", s.SnapshotThreshold, 2000)
	same(t, "snapshot_interval", s.SnapshotInterval, 30*time.Second)
	same(t, "max_entry_size", s.MaxEntrySize, 2<<20)
	same(t, "number of retry_join", len(s.RetryJoin), 2)
	same(t, "second retry_join", s.RetryJoin[1].LeaderAPIAddr, "https://c:8200")
	same(t, "number of listeners", len(c.Listeners), 2)
	l := c.Listeners[0]
	same(t, "address", l.Address, "0.0.0.0:8200")
	same(t, "tls_min_version", l.TLS.MinVersion, "tls13")
	same(t, "tls_require_and_verify_client_cert", l.TLS.RequireClientCert, true)
	wanted := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	if !slices.Equal(l.TLS.CipherSuites, wanted) {
		t.Errorf("tls_cipher_suites are %v", l.TLS.CipherSuites)
	}
	same(t, "max_request_size", l.MaxRequestSize, 1<<20)
	same(t, "http_read_timeout", l.Timeouts.Read, time.Minute)
	same(t, "http_read_header_timeout", l.Timeouts.ReadHeader, 10*time.Second)
	same(t, "max_request_duration", l.Timeouts.Request, 30*time.Second)
	if want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}; !slices.Equal(l.Proxies.Trusted, want) {
		t.Errorf("x_forwarded_for_authorized_addrs are %v", l.Proxies.Trusted)
	}
	same(t, "x_forwarded_for_reject_not_authorized is off", l.Proxies.AllowUntrusted, true)
	same(t, "x_forwarded_for_reject_not_present is off", l.Proxies.AllowMissing, false)
	if want := map[string]map[string]string{"default": {"X-Frame": "a; b"}, "4xx": {"X-Oops": "yes"}}; !reflect.DeepEqual(l.Headers, want) {
		t.Errorf("custom_response_headers are %v", l.Headers)
	}
	same(t, "unauthenticated_metrics_access", l.OpenMetrics, true)
	same(t, "unauthenticated_pprof_access", l.OpenProfiling, true)
	same(t, "socket_mode", c.Listeners[1].Unix.Mode, 0o660)
	same(t, "duration of the second listener", c.Listeners[1].Timeouts.Request, 90*time.Second)
	same(t, "seal", c.Seal.Type, config.SealTransit)
	same(t, "token of the seal", c.Seal.Transit.Token, "t0ken")
	same(t, "default_lease_ttl", c.DefaultLeaseTTL, time.Hour)
	same(t, "max_lease_ttl", c.MaxLeaseTTL, 720*time.Hour)
	same(t, "log_level", c.Log.Level, "debug")
	same(t, "log_format", c.Log.Format, "json")
	same(t, "raw_storage_endpoint", c.RawStorage, true)
	same(t, "disable_hostname", c.Telemetry.DisableHostname, true)
	if err := c.Runnable(); err != nil {
		t.Errorf("it cannot be run: %s", err)
	}
}

func TestDefaults(t *testing.T) {
	c := parse(t, "")
	same(t, "default_lease_ttl", c.DefaultLeaseTTL, 768*time.Hour)
	same(t, "max_lease_ttl", c.MaxLeaseTTL, 768*time.Hour)
	same(t, "log_store", c.Storage.LogStore, config.LogStoreBolt)
	same(t, "seal", c.Seal.Type, config.SealShamir)
	same(t, "log_level", c.Log.Level, "info")
	err := c.Runnable()
	if err == nil || !strings.Contains(err.Error(), "no storage is configured") || !strings.Contains(err.Error(), "no listener is configured") {
		t.Errorf("an empty configuration is said to be: %v", err)
	}
	l := parse(t, `listener "tcp" { tls_disable = 1 }`).Listeners[0]
	same(t, "address", l.Address, config.DefaultAddress)
	same(t, "max_request_size", l.MaxRequestSize, config.DefaultMaxRequestSize)
}

func TestLaterFilesStand(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10.hcl": "cluster_name = \"first\"\napi_addr = \"http://a:1\"", "20.json": `{"cluster_name": "second"}`,
		"notes.txt": "neither HCL nor JSON", ".hidden.hcl": "nonsense = 1",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load([]string{dir}, environment(nil).lookup)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "cluster_name", c.ClusterName, "second")
	same(t, "api_addr", c.APIAddr, "http://a:1")
	same(t, "number of files", len(c.Files), 2)
	if _, err := config.Load([]string{t.TempDir()}, environment(nil).lookup); err == nil {
		t.Error("an empty folder is a configuration")
	}
	if _, err := config.Load([]string{filepath.Join(dir, "missing.hcl")}, environment(nil).lookup); err == nil {
		t.Error("a file that is not there is a configuration")
	}
}

func TestEnvironmentStandsOverFiles(t *testing.T) {
	c := parseIn(t, full, environment{
		"COFFER_API_ADDR": "https://env:8200", "VAULT_API_ADDR": "https://other:8200", "BAO_CLUSTER_ADDR": "https://env:8201",
		"VAULT_LOG_LEVEL": "warn", "COFFER_RAFT_NODE_ID": "env", "BAO_RAFT_PATH": "/env", "VAULT_TOKEN": "shared",
		"COFFER_TRANSIT_SEAL_TOKEN": "own", "VAULT_TRANSIT_SEAL_KEY_NAME": "key",
	})
	same(t, "api_addr", c.APIAddr, "https://env:8200")
	same(t, "cluster_addr", c.ClusterAddr, "https://env:8201")
	same(t, "log_level", c.Log.Level, "warn")
	same(t, "node_id", c.Storage.NodeID, "env")
	same(t, "path", c.Storage.Path, "/env")
	same(t, "token of the seal", c.Seal.Transit.Token, "own")
	same(t, "key of the seal", c.Seal.Transit.KeyName, "key")
	c = parseIn(t, "", environment{"BAO_SEAL_TYPE": "static", "COFFER_STATIC_SEAL_CURRENT_KEY_ID": "1", "COFFER_STATIC_SEAL_CURRENT_KEY": "env://K"})
	same(t, "seal", c.Seal.Type, config.SealStatic)
	same(t, "key of the seal", c.Seal.Keys.CurrentKey, "env://K")
	_, err := config.Parse("c.hcl", nil, environment{"VAULT_LOG_LEVEL": "loud"}.lookup)
	if err == nil || !strings.HasPrefix(err.Error(), "VAULT_LOG_LEVEL: expected one of") {
		t.Errorf("a bad level is said to be: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	c := parse(t, "plugin_directory = \"/p\"\ndisable_cache = true\ndisable_mlock = true\nintrospection_endpoint = true\nui = false\n")
	want := []string{
		"c.hcl:1: plugin_directory has no effect: engines are part of the binary, and plugins are not run",
		"c.hcl:2: disable_cache has no effect: Coffer has no such cache or limit to set",
		"c.hcl:4: introspection_endpoint has no effect: the inner state of a server is not shown",
	}
	if !slices.Equal(c.Warnings, want) {
		t.Errorf("warnings are %q", c.Warnings)
	}
}

func TestSanitizedHoldsNoSecrets(t *testing.T) {
	c := parse(t, full)
	c.Seal.Keys.CurrentKey = "k3y"
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		case string:
			if strings.Contains(v, "t0ken") || strings.Contains(v, "k3y") || strings.Contains(v, "unseal") {
				t.Errorf("the sanitized configuration holds %q", v)
			}
		}
	}
	out := c.Sanitized()
	walk(out)
	if out["default_lease_ttl"] != int64(3600) || out["storage"].(map[string]any)["type"] != "raft" {
		t.Errorf("the sanitized configuration is %v", out)
	}
}

func TestTheExampleIsGood(t *testing.T) {
	c, err := config.Load([]string{filepath.Join("..", "..", "..", "deploy", "systemd", "coffer.hcl")}, environment(nil).lookup)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Runnable(); err != nil || len(c.Warnings) > 0 {
		t.Errorf("it cannot be run: %v, %v", err, c.Warnings)
	}
}
