package harness_test

import (
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/testing/harness"
)

func TestServerKeepsWhatItAcknowledged(t *testing.T) {
	s := harness.Start(t, harness.Options{Shares: 3, Threshold: 2})
	s.Root(http.MethodPost, "sys/mounts/secret", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	s.Root(http.MethodPost, "secret/data/a", map[string]any{"data": map[string]string{"k": "v"}})
	address := s.Address
	s.Kill()
	s.Restart()
	if s.Address != address {
		t.Errorf("the address changed from %s to %s", address, s.Address)
	}
	if status, _ := s.Do(http.MethodGet, "secret/data/a", s.RootToken, nil); status != http.StatusServiceUnavailable {
		t.Errorf("a sealed server answered %d", status)
	}
	s.Unseal()
	data := s.Root(http.MethodGet, "secret/data/a", nil)["data"].(map[string]any)["data"].(map[string]any)
	if data["k"] != "v" {
		t.Errorf("read back %v", data)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("SIGTERM ended it with %v", err)
	}
}

func TestUninitialized(t *testing.T) {
	s := harness.Start(t, harness.Options{Uninitialized: true})
	if status, _ := s.Do(http.MethodGet, "sys/health", "", nil); status != http.StatusNotImplemented {
		t.Errorf("a server without keys answered %d", status)
	}
}
