package mysql_test

import (
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/engines/database/mysql"
)

// FuzzFill holds that no value gets out of the quotes that it stands in.
func FuzzFill(f *testing.F) {
	for _, text := range []string{
		creation, `SELECT '\'{{password}}', "{{name}}" -- {{name}}`, "/* {{name}} */ `{{name}}`; '{{1,2}}' # '", `{{name}}`, `_gbk'{{password}}'`, `a -- '`, `a--'{{name}}'`,
	} {
		f.Add(text, "x`; DROP TABLE y; -- ", `'; DROP TABLE y; --\`)
		f.Add(text, `x"; DROP TABLE y; #`, `\'; DROP TABLE y; --\`)
	}
	f.Fuzz(func(t *testing.T, text, name, password string) {
		harmless, err := mysql.Fill(text, "n", "p")
		if err != nil {
			return
		}
		want, err := mysql.Shape(harmless)
		if err != nil {
			return // braces that are both a placeholder and something else
		}
		filled, err := mysql.Fill(text, name, password)
		if err != nil {
			return
		}
		got, err := mysql.Shape(filled)
		if err != nil || strings.Count(got, ";") != strings.Count(want, ";") {
			t.Fatalf("%q becomes %q: %v", text, filled, err)
		}
	})
}

func TestFill(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`SELECT '{{name}}';`:                            `SELECT 'o''b\\'`,
		`SELECT "{{ password }}" ; -- the end`:          `SELECT "p"`,
		"SELECT `{{name}}`; # {{name}}\n/* {{name}} */": "SELECT `o'b\\`",
		`SELECT '\'', '{{name}}', '{{other}}'`:          `SELECT '\'', 'o''b\\', '{{other}}'`,
		`SELECT 5--1, {{password}}`:                     `SELECT 5--1, p`,
	} {
		if got, err := mysql.Fill(text, `o'b\`, "p"); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{`SELECT {{name}}`, `SELECT '`, "SELECT `", `/* `, ` ; -- no`, `/*!50000 SELECT '{{name}}' */`, "SELECT {{password}}'x'", "\x00"} {
		if got, err := mysql.Fill(text, `o'b\`, "p"); err == nil {
			t.Errorf("%s: %s", text, got)
		}
	}
}
