package kit_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestSecretSurvivesRestart(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	s.Mount("kv", "kv", map[string]string{"version": "2"})
	s.Put("kv/data/a", map[string]any{"data": map[string]any{"x": "y"}})
	s.Restart()
	s.Must(http.StatusServiceUnavailable, kit.Request{Path: "kv/data/a"})
	s.Unseal()
	if got := s.Get("kv/data/a").Text("data", "data", "x"); got != "y" {
		t.Errorf("read %q, want y", got)
	}
}

func TestClockEndsTokens(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	token := s.Put("auth/token/create", map[string]any{"ttl": "1h"}).Text("auth", "client_token")
	s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: token})
	clock.Advance(2 * time.Hour)
	s.Must(http.StatusForbidden, kit.Request{Path: "auth/token/lookup-self", Token: token})
}

func TestStatesBeforeServing(t *testing.T) {
	t.Parallel()
	if got := kit.New(t, kit.Uninitialized()).Get("sys/init").At("initialized"); got != false {
		t.Errorf("initialized: %v", got)
	}
	if got := kit.New(t, kit.Sealed()).Get("sys/seal-status").At("sealed"); got != true {
		t.Errorf("sealed: %v", got)
	}
}
