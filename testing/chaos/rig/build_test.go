package rig_test

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/harness"
)

// marks are what the build for tests has of its own: code of packages crash and
// server, by the names that every Go binary keeps of its functions, and texts.
var marks = []string{
	"coffer/crash.pass", "coffer/crash.Arm", "server.(*skewedClock).Wall", "server.obey",
	"this build is for tests only", "crash: there is no %q",
}

// TestOrdinaryBuildHasNone: what ends a process or sets its clock is in the build
// for tests, where this test would find it in any, and in no other.
func TestOrdinaryBuildHasNone(t *testing.T) {
	t.Parallel()
	chaos, err := harness.ChaosBinary()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{harness.Binary(t): false, chaos: true} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range marks {
			if bytes.Contains(text, []byte(mark)) != want {
				t.Errorf("%s: %q is there: %v, want %v", path, mark, !want, want)
			}
		}
	}
}

// TestOrdinarySourcesHaveNone is the same for the files that are compiled.
func TestOrdinarySourcesHaveNone(t *testing.T) {
	t.Parallel()
	for tags, want := range map[string][]string{"": {"control_off.go", "off.go"}, "chaos": {"control_on.go", "on.go"}} {
		const names = `{{range .GoFiles}}{{println .}}{{end}}`
		out, err := exec.CommandContext(t.Context(), "go", "list", "-tags", tags, "-f", names, // #nosec G204 -- arguments of ours
			"github.com/coffer-secrets/coffer/cmd/internal/server", "github.com/coffer-secrets/coffer/crash").Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range strings.Fields(string(out)) {
			if slices.Contains([]string{"control_on.go", "control_off.go", "on.go", "off.go"}, name) {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with tags %q: %q, want %q", tags, got, want)
		}
	}
}
