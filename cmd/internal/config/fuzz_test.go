package config_test

import (
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

// FuzzParse holds the parser to its word: whatever the text is, it is taken or
// refused with a message, and what is taken can be shown.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		full, fullJSON, "", "{}", "ui = true", "ui = \"${", "a = <<EOF\nx\nEOF\n", "listener \"tcp\" \"x\" {}", "[[[", "{\"a\":[{\"b\":[1]}]}",
		"storage = { raft = { path = \"x\" } }", "listener { tcp { tls_disable = 1 } }", "\ufeff{\"ui\":true}", "ui = 99999999999999999999",
		"a { b { c { d = [1, \"2\", {e=3}] } } }", "telemetry {} telemetry {}", "/* open", "\x00", "ui = tru",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse("c.hcl", text, environment(nil).lookup)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without a message")
			}
			return
		}
		if c.Sanitized() == nil {
			t.Error("nothing to show")
		}
		_ = c.Runnable()
	})
}
