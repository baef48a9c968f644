package usernames_test

import (
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines/usernames"
)

var rules = usernames.Rules{
	Target: "it", Most: 40, Least: 6, Fields: []string{"DisplayName", "Kind"}, Fixed: map[string]string{"Kind": "A"}, Conditions: true, Others: "_",
}

func TestMake(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{{.DisplayName | uppercase | truncate 3}}-{{random 8}}`:                              "TOK-",
		`{{if (eq .Kind "A")}}a{{else}}b{{end}}_{{(.DisplayName) | truncate 9}}-{{random 8}}`: "a_token-k-",
		`{{if (eq .Kind "B")}}b{{end}}{{unix_time}}-{{random 8}}`:                             "1000-",
	} {
		tpl, err := usernames.Parse(text, rules)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		name, err := tpl.Make(map[string]string{"DisplayName": "token k"}, time.Unix(1000, 0))
		if err != nil || !strings.HasPrefix(name, want) {
			t.Errorf("%s gives %q, %v", text, name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "constant", `{{random 4}}`, `{{random 200}}`, `{{range .DisplayName}}x{{end}}`, `{{$x := 1}}{{random 9}}`, `{{.Other}}{{random 9}}`,
		`{{define "x"}}{{end}}{{random 9}}`, `{{html .DisplayName}}{{random 9}}`, `{{random 41}}`, `{{with .Kind}}x{{end}}{{random 9}}`,
		`{{if (eq .Kind "A")}}{{call .Kind}}{{end}}{{random 9}}`, strings.Repeat("x", usernames.MaxTemplate+1),
	} {
		if _, err := usernames.Parse(text, rules); err == nil {
			t.Errorf("%.40q is taken", text)
		}
	}
	plain := rules
	plain.Conditions = false
	if _, err := usernames.Parse(`{{if .Kind}}a{{end}}{{random 9}}`, plain); err == nil {
		t.Error("a condition is taken where there are none")
	}
}
