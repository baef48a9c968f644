package config_test

import (
	"testing"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

// environment is an environment for a test.
type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// parse reads a text that has to be good.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	return parseIn(t, text, nil)
}

func parseIn(t *testing.T, text string, env environment) *config.Config {
	t.Helper()
	c, err := config.Parse("c.hcl", []byte(text), env.lookup)
	if err != nil {
		t.Fatalf("a good configuration was refused: %s\n%s", err, text)
	}
	return c
}

// same fails the test unless a value is the one that is wanted.
func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, not %v", what, got, want)
	}
}
