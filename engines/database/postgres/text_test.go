package postgres_test

import (
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/engines/database/postgres"
)

// FuzzFill holds that no value gets out of the quotes that it stands in.
func FuzzFill(f *testing.F) {
	for _, text := range []string{
		creation, `SELECT E'\'{{password}}', $a$ '{{name}}' $a$ -- {{name}}`, `/* /* {{name}} */ */ "{{name}}"; '{{1,2}}'`, `a$b$ {{name}}`, `$1$x$ '`,
	} {
		f.Add(text, `x"; DROP TABLE y; --`, `'; DROP TABLE y; --\`)
	}
	f.Fuzz(func(t *testing.T, text, name, password string) {
		harmless, err := postgres.Fill(text, "n", "p")
		if err != nil {
			return
		}
		want, err := postgres.Shape(harmless)
		if err != nil {
			return // braces that are both a placeholder and something else
		}
		filled, err := postgres.Fill(text, name, password)
		if err != nil {
			return
		}
		got, err := postgres.Shape(filled)
		if err != nil || strings.Count(got, ";") != strings.Count(want, ";") {
			t.Fatalf("%q becomes %q: %v", text, filled, err)
		}
	})
}
