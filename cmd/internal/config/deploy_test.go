package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigurationsToDeploy reads those that stand in deploy/.
func TestConfigurationsToDeploy(t *testing.T) {
	t.Parallel()
	deploy := filepath.Join("..", "..", "..", "deploy")
	unit, err := os.ReadFile(filepath.Join(deploy, "systemd", "coffer.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	if c := parse(t, string(unit)); c.Runnable() != nil {
		t.Error(c.Runnable())
	}
	manifests, err := os.ReadFile(filepath.Join(deploy, "kubernetes", "coffer.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(manifests), "coffer.hcl: |\n")
	if !ok {
		t.Fatal("there is no configuration in the manifests")
	}
	inner, _, _ := strings.Cut(rest, "\n---\n")
	c := parse(t, inner)
	if err := c.Runnable(); err != nil {
		t.Error(err)
	}
	same(t, "retry_join", len(c.Storage.RetryJoin), 3)
}
