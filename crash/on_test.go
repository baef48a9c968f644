//go:build chaos

package crash_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/coffer-secrets/coffer/crash"
)

// inside tells this very test to walk over all steps, and where to end.
const inside = "COFFER_TEST_CRASH"

func TestMain(m *testing.M) {
	at := os.Getenv(inside)
	if at == "" {
		m.Run()
		return
	}
	step, moment, _ := strings.Cut(at, " ")
	if crash.Arm(crash.Step(step), moment == "after", 2) != nil {
		panic("it cannot be armed")
	}
	if moment == "never" {
		crash.Disarm()
	}
	for range 2 {
		for _, s := range crash.Steps() {
			crash.Before(s)
			os.Stdout.WriteString(string(s) + " ")
			crash.After(s)
		}
	}
}

// walk is what a process has done that was to end at a place, and whether it was
// killed.
func walk(t *testing.T, at string) (done string, killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), inside+"="+at)
	out, err := cmd.Output()
	ended := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return string(out), ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func TestEndsThere(t *testing.T) {
	t.Parallel()
	var all []string
	for _, s := range crash.Steps() {
		all = append(all, string(s))
	}
	for i, s := range all {
		for moment, done := range map[string][]string{"before": all[:i], "after": all[:i+1]} {
			want := strings.Join(append(append([]string(nil), all...), done...), " ") + " "
			if got, killed := walk(t, s+" "+moment); got != want || !killed {
				t.Errorf("%s %s: it did %q, killed: %v, want %q", moment, s, got, killed, want)
			}
		}
	}
	if _, killed := walk(t, all[0]+" never"); killed {
		t.Error("it ends though it was told not to")
	}
}

func TestNoSuchStep(t *testing.T) {
	t.Parallel()
	if crash.Arm("nothing", true, 1) == nil || crash.Arm(crash.Grant, true, 0) == nil {
		t.Error("it is armed")
	}
}
