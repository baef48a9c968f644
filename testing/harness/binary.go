package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Binary returns the path of the binary, which it builds the first time.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("COFFER_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin", "test")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	// Other test processes build too, and run what they built: the file is
	// replaced whole.
	path := filepath.Join(dir, "coffer")
	made := fmt.Sprintf("%s.%d", path, os.Getpid())
	cmd := exec.CommandContext(context.Background(), "go", "build", "-pgo=off", "-o", made, "./cmd/coffer") // #nosec G204 -- the test's own build
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("harness: build the binary: %w\n%s", err, out)
	}
	return path, os.Rename(made, path)
})

func moduleRoot() (string, error) {
	out, err := exec.CommandContext(context.Background(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/coffer-secrets/coffer").Output()
	if err != nil {
		return "", fmt.Errorf("harness: find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Environment is that of the test without what would change a server's
// configuration or a client's.
func Environment() []string {
	var out []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "COFFER_") || strings.HasPrefix(name, "VAULT_") || strings.HasPrefix(name, "BAO_") || name == "NOTIFY_SOCKET" {
			continue
		}
		out = append(out, pair)
	}
	return out
}
