package server_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

func TestLifeOfAServer(t *testing.T) {
	for _, logStore := range []string{"bolt", "wal"} {
		t.Run(logStore, func(t *testing.T) {
			text := fmt.Sprintf("storage \"raft\" {\n path = %q\n log_store = %q\n}\n%s", filepath.Join(t.TempDir(), "data"), logStore, plain)
			r := start(t, text)
			r.wantStatus(http.StatusNotImplemented, http.MethodGet, "sys/health", "")
			k := r.init(map[string]int{"secret_shares": 3, "secret_threshold": 2})
			r.wantStatus(http.StatusServiceUnavailable, http.MethodGet, "sys/health", "")
			r.unseal(k, 2)
			r.wantStatus(http.StatusOK, http.MethodGet, "sys/health", "")
			r.putSecret(k.RootToken, "one")
			r.wantSecret(k.RootToken, "one")
			r.ok(http.MethodPut, "sys/seal", k.RootToken, nil)
			r.wantStatus(http.StatusServiceUnavailable, http.MethodGet, "secret/data/a", k.RootToken)
			r.unseal(k, 2)
			r.putSecret(k.RootToken, "two")
			if err := r.stop(); err != nil {
				t.Fatalf("it stopped with: %s", err)
			}
			r = start(t, text)
			r.wantStatus(http.StatusServiceUnavailable, http.MethodGet, "sys/health", "")
			r.unseal(k, 2)
			// Nobody has to wait for a leader: the server listened when it led.
			r.wantStatus(http.StatusOK, http.MethodGet, "sys/health", "")
			r.wantSecret(k.RootToken, "two")
		})
	}
}

func TestStaticSealUnsealsItself(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(hex.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	text := withStorage(dir, plain+fmt.Sprintf("seal \"static\" {\n current_key_id = \"1\"\n current_key = \"file://%s\"\n}\n", key))
	r := start(t, text)
	k := r.init(map[string]int{"recovery_shares": 1, "recovery_threshold": 1})
	r.putSecret(k.RootToken, "one")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, text)
	for sealed := true; sealed; {
		// The server unseals itself soon after it listens.
		sealed = r.ok(http.MethodGet, "sys/seal-status", "", nil)["sealed"].(bool)
	}
	r.wantSecret(k.RootToken, "one")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := try(t, text, nil); err == nil || !strings.Contains(err.Error(), "run chmod 600") {
		t.Errorf("with a key that everybody can read: %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	text := withStorage(dir, fmt.Sprintf("listener \"unix\" {\n address = %q\n socket_mode = \"0640\"\n}\n", socket))
	// A socket that a dead process left behind is no obstacle.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, text)
	r.base = "http://localhost"
	r.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	k := r.init(map[string]int{"secret_shares": 1, "secret_threshold": 1})
	r.unseal(k, 1)
	r.putSecret(k.RootToken, "one")
	r.wantSecret(k.RootToken, "one")
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the socket's mode is %v (%v)", info.Mode(), err)
	}
	_, err = try(t, withStorage(t.TempDir(), fmt.Sprintf("listener \"unix\" { address = %q }", socket)), nil)
	if err == nil || !strings.Contains(err.Error(), "the socket is in use") {
		t.Errorf("a second server on the socket: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = try(t, text, nil); err == nil || !strings.Contains(err.Error(), "something that is not a socket") {
		t.Errorf("a file in the socket's place: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	r := start(t, withStorage(dir, plain))
	address := strings.TrimPrefix(r.Address(), "http://")
	for name, c := range map[string]struct{ text, want string }{
		"address in use": {withStorage(t.TempDir(), fmt.Sprintf("listener \"tcp\" {\n address = %q\n tls_disable = true\n}", address)), "listen on " + address + ": bind: address already in use"},
		"folder in use":  {withStorage(dir, plain), "open the data in " + dir},
		"another node's": {fmt.Sprintf("storage \"raft\" {\n path = %q\n node_id = \"other\"\n}\n%s", filepath.Join(dir, "data"), plain), `and node_id is "other": a node keeps its id`},
		"odd id":         {fmt.Sprintf("storage \"raft\" {\n path = %q\n node_id = \"a b\"\n}\n%s", t.TempDir(), plain), "printable ASCII"},
		"no certificate": {withStorage(t.TempDir(), "listener \"tcp\" {\n address = \"127.0.0.1:0\"\n tls_cert_file = \"/nowhere\"\n tls_key_file = \"/nowhere\"\n}"), "read the listener's certificate"},
		"no storage":     {plain, "no storage is configured"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := try(t, c.text, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, not %q", err, c.want)
			}
		})
	}
}

func TestMetricsHeadersAndProxies(t *testing.T) {
	r := start(t, withStorage(t.TempDir(), `
listener "tcp" {
  address = "127.0.0.1:0"
  tls_disable = true
  max_request_size = 1000
  telemetry { unauthenticated_metrics_access = true }
  custom_response_headers {
    "default" = { "X-Always" = "yes" }
    "5xx" = { "X-Trouble" = "class" }
    "501" = { "X-Trouble" = "status" }
  }
}
listener "tcp" {
  address = "127.0.0.1:0"
  tls_disable = true
  x_forwarded_for_authorized_addrs = "127.0.0.1"
}
`))
	_, header, body := r.do(http.MethodGet, "sys/metrics", "", nil)
	for _, want := range []string{"coffer_unsealed 0", "coffer_raft_leader", `coffer_build_info{version="1.2.3"} 1`, "coffer_store_bytes", "go_goroutines", "coffer_raft_applied_index"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") || header.Get("X-Always") != "yes" || header.Get("X-Trouble") != "" {
		t.Errorf("headers of a success are %v", header)
	}
	if _, header, _ = r.do(http.MethodGet, "sys/health", "", nil); header.Get("X-Trouble") != "status" {
		t.Errorf("headers of a failure are %v", header)
	}
	if status, _, body := r.do(http.MethodPost, "sys/init", "", strings.Repeat("a", 1001)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: status %d: %s", status, body)
	}
	_, _, body = r.do(http.MethodGet, "sys/metrics", "", nil)
	if !strings.Contains(string(body), `coffer_http_requests_total{method="POST",status="4xx"} 1`) {
		t.Errorf("the refusal was not counted")
	}
}

func TestForwardedForIsRequired(t *testing.T) {
	r := start(t, withStorage(t.TempDir(), "listener \"tcp\" {\n address = \"127.0.0.1:0\"\n tls_disable = true\n x_forwarded_for_authorized_addrs = \"127.0.0.1\"\n}"))
	k := r.init(map[string]int{"secret_shares": 1, "secret_threshold": 1})
	r.unseal(k, 1)
	status, _, body := r.do(http.MethodGet, "auth/token/lookup-self", k.RootToken, nil)
	if status != http.StatusBadRequest || !strings.Contains(string(body), "missing X-Forwarded-For") {
		t.Errorf("a request without the header: status %d: %s", status, body)
	}
}

func TestSanitizedConfigurationAndLogFile(t *testing.T) {
	dir := t.TempDir()
	logFile, pidFile := filepath.Join(dir, "logs")+"/", filepath.Join(dir, "pid")
	if err := os.Mkdir(logFile, 0o700); err != nil {
		t.Fatal(err)
	}
	text := withStorage(dir, plain+fmt.Sprintf("log_file = %q\npid_file = %q\nlog_level = \"debug\"\ncluster_name = \"c\"\n", logFile, pidFile))
	level := "debug"
	r, err := try(t, text, func() (*config.Config, error) {
		return load(t, strings.Replace(text, `"debug"`, `"`+level+`"`, 1)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	k := r.init(map[string]int{"secret_shares": 1, "secret_threshold": 1})
	r.unseal(k, 1)
	out := r.ok(http.MethodGet, "sys/config/state/sanitized", k.RootToken, nil)["data"].(map[string]any)
	if out["cluster_name"] != "c" || out["log_level"] != "debug" || out["api_addr"] != r.Address() {
		t.Errorf("the configuration is shown as %v", out)
	}
	if pid, err := os.ReadFile(pidFile); err != nil || strings.TrimSpace(string(pid)) != fmt.Sprint(os.Getpid()) {
		t.Errorf("the pid file holds %q (%v)", pid, err)
	}
	// Someone moves the log away and turns it down.
	path := filepath.Join(logFile, "coffer.log")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	level = "error"
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	r.ok(http.MethodPut, "sys/seal", k.RootToken, nil)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path + ".1")
	if err != nil || !strings.Contains(string(old), "msg=unsealed") {
		t.Errorf("the first log lacks the unsealing: %v\n%s", err, old)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("the new log at level error: %v, %v", info, err)
	}
	if _, err := os.Stat(pidFile); !os.IsNotExist(err) {
		t.Errorf("the pid file is still there: %v", err)
	}
}
