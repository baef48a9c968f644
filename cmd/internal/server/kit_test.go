package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
	"github.com/coffer-secrets/coffer/cmd/internal/server"
	"github.com/coffer-secrets/coffer/testing/harness"
)

// running is a server in this process.
type running struct {
	*server.Server
	t      *testing.T
	client *http.Client
	base   string
	log    *bytes.Buffer // to be read once the server has stopped
	cancel context.CancelFunc
	ended  chan error
}

const plain = "listener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}\n"

// withStorage is a configuration with a folder for the data.
func withStorage(dir, rest string) string {
	return fmt.Sprintf("storage \"raft\" {\n  path = %q\n}\n%s", filepath.Join(dir, "data"), rest)
}

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("c.hcl", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// start runs a server until the test ends, or until stop.
func start(t *testing.T, text string) *running {
	t.Helper()
	r, err := try(t, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// try starts a server that may refuse to.
func try(t *testing.T, text string, reload func() (*config.Config, error)) (*running, error) {
	t.Helper()
	r := &running{t: t, client: new(http.Client), log: new(bytes.Buffer), ended: make(chan error, 1)}
	s, err := server.New(t.Context(), server.Options{
		Config: load(t, text), Build: server.Build{Version: "1.2.3"}, Log: r.log, Load: reload,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.Server, r.cancel, r.base = s, cancel, s.Address()
	go func() { r.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("the server ended with: %s", err)
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", r.log)
		}
	})
	return r, nil
}

// stop ends the server as a signal would, once.
func (r *running) stop() error {
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	r.cancel = nil
	r.client.CloseIdleConnections()
	return <-r.ended
}

// do sends a request and returns status, header and body.
func (r *running) do(method, path, token string, body any) (int, http.Header, []byte) {
	r.t.Helper()
	payload := []byte{}
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			r.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.base+"/v1/"+path, bytes.NewReader(payload))
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

// ok sends a request that has to succeed and decodes the answer.
func (r *running) ok(method, path, token string, body any) map[string]any {
	r.t.Helper()
	status, _, answer := r.do(method, path, token, body)
	if status < 200 || status > 299 {
		r.t.Fatalf("%s %s: status %d: %s", method, path, status, answer)
	}
	out := make(map[string]any)
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &out); err != nil {
			r.t.Fatalf("%s %s: %s in %s", method, path, err, answer)
		}
	}
	return out
}

// keys are what initialising gave.
type keys struct {
	Keys      []string `json:"keys_base64"`
	RootToken string   `json:"root_token"`
}

func (r *running) init(request map[string]int) keys {
	r.t.Helper()
	text, err := json.Marshal(r.ok(http.MethodPut, "sys/init", "", request))
	if err != nil {
		r.t.Fatal(err)
	}
	var k keys
	if err := json.Unmarshal(text, &k); err != nil {
		r.t.Fatal(err)
	}
	return k
}

func (r *running) unseal(k keys, threshold int) {
	r.t.Helper()
	for _, key := range k.Keys[:threshold] {
		r.ok(http.MethodPut, "sys/unseal", "", map[string]string{"key": key})
	}
}

// putSecret mounts kv, if it is not there, and writes one secret.
func (r *running) putSecret(token, value string) {
	r.t.Helper()
	r.do(http.MethodPost, "sys/mounts/secret", token, map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	r.ok(http.MethodPost, "secret/data/a", token, map[string]any{"data": map[string]string{"k": value}})
}

func (r *running) wantSecret(token, value string) {
	r.t.Helper()
	_, _, answer := r.do(http.MethodGet, "secret/data/a", token, nil)
	if !strings.Contains(string(answer), `{"k":"`+value+`"}`) {
		r.t.Errorf("read back %s, and not %s", answer, value)
	}
}

// wantSame checks that nodes come to the same bytes at one index.
func wantSame(t *testing.T, token string, nodes ...*running) {
	t.Helper()
	var states []harness.State
	for _, r := range nodes {
		states = append(states, func() ([]byte, bool) {
			status, _, archive := r.do(http.MethodGet, harness.SnapshotPath, token, nil)
			return archive, status == http.StatusOK
		})
	}
	harness.SameStates(t, len(nodes), states...)
}

func (r *running) wantStatus(want int, method, path, token string) {
	r.t.Helper()
	if status, _, answer := r.do(method, path, token, nil); status != want {
		r.t.Errorf("%s %s: status %d, not %d: %s", method, path, status, want, answer)
	}
}
