package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// inside marks a process that Main has started.
const inside = "COFFER_TEST_NETNS=1"

// Possible returns why there can be no hosts on this machine; nil if there can.
func Possible(ctx context.Context) error {
	n, err := Up(ctx, 1)
	if err != nil {
		return err
	}
	return n.close(context.WithoutCancel(ctx))
}

// Main runs the tests of a package, in a user namespace that has the rights which
// this process has not, if that is possible.
func Main(m *testing.M) int {
	ctx := context.Background()
	if os.Geteuid() == 0 || os.Getenv("COFFER_TEST_NETNS") != "" {
		return m.Run()
	}
	// The mount over /run is for the names of namespaces.
	script := `mount -t tmpfs none /run && ip link set dev lo up && exec "$@"`
	enter := []string{"--user", "--map-root-user", "--net", "--mount", "sh", "-c", script, "sh"}
	if exec.CommandContext(ctx, "unshare", append(enter, "true")...).Run() != nil { // #nosec G204 -- arguments of ours
		return m.Run()
	}
	cmd := exec.CommandContext(ctx, "unshare", append(enter, os.Args...)...) // #nosec G204 G702 -- this very test
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), inside), os.Stdout, os.Stderr
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		return max(1, ended.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
