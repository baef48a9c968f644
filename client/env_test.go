package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/client"
)

func TestEnvironmentOrder(t *testing.T) {
	t.Setenv("BAO_ADDR", "http://bao")
	check := func(want string) {
		t.Helper()
		cfg, err := client.FromEnvironment()
		if err != nil || cfg.Address != want {
			t.Errorf("got %q, %v; want %q", cfg.Address, err, want)
		}
	}
	check("http://bao")
	t.Setenv("VAULT_ADDR", "http://vault")
	check("http://vault")
	t.Setenv("COFFER_ADDR", "http://coffer")
	check("http://coffer")
	t.Setenv("COFFER_ADDR", "")
	check("http://vault")
}

func TestEnvironmentValues(t *testing.T) {
	t.Setenv("VAULT_CLIENT_TIMEOUT", "90")
	t.Setenv("COFFER_MAX_RETRIES", "0")
	t.Setenv("BAO_SKIP_VERIFY", "1")
	cfg, err := client.FromEnvironment()
	if err != nil || cfg.Timeout != 90*time.Second || cfg.MaxRetries >= 0 || !cfg.TLS.SkipVerify {
		t.Errorf("got %+v, %v", cfg, err)
	}
	t.Setenv("VAULT_CLIENT_TIMEOUT", "secretive")
	t.Setenv("COFFER_MAX_RETRIES", "-3")
	t.Setenv("BAO_SKIP_VERIFY", "maybe")
	_, err = client.FromEnvironment()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"VAULT_CLIENT_TIMEOUT", "COFFER_MAX_RETRIES", "BAO_SKIP_VERIFY"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "secretive") {
		t.Errorf("the value is in the error: %v", err)
	}
}

func TestTokenFile(t *testing.T) {
	f := client.TokenFile{Dir: t.TempDir()}
	read := func(want string) {
		t.Helper()
		if got, err := f.Read(); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	read("")
	if err := os.WriteFile(filepath.Join(f.Dir, ".vault-token"), []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read("old")
	if err := f.Write("new"); err != nil {
		t.Fatal(err)
	}
	read("new")
	info, err := os.Stat(filepath.Join(f.Dir, ".coffer-token"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := f.Write("a\nb"); err == nil {
		t.Error("a token of two lines is kept")
	}
	if err := f.Erase(); err != nil {
		t.Fatal(err)
	}
	if err := f.Erase(); err != nil {
		t.Fatal(err)
	}
	read("old")
	if left, err := os.ReadDir(f.Dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
