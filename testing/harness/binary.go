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

// ChaosBinary is Binary for the build in which a test can set a node's clock, and
// tell it at which step to end itself.
func ChaosBinary() (string, error) { return buildChaos() }

var (
	build      = sync.OnceValues(func() (string, error) { return buildAs("COFFER_BINARY", "coffer") })
	buildChaos = sync.OnceValues(func() (string, error) { return buildAs("COFFER_CHAOS_BINARY", "coffer-chaos", "-tags=chaos") })
)

// buildAs builds the binary, unless the environment names one.
func buildAs(variable, name string, flags ...string) (string, error) {
	if path := os.Getenv(variable); path != "" {
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
	path := filepath.Join(dir, name)
	made := fmt.Sprintf("%s.%d", path, os.Getpid())
	args := append(append([]string{"build", "-pgo=off"}, flags...), "-o", made, "./cmd/coffer")
	cmd := exec.CommandContext(context.Background(), "go", args...) // #nosec G204 -- the test's own build
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("harness: build the binary: %w\n%s", err, out)
	}
	return path, os.Rename(made, path)
}

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
