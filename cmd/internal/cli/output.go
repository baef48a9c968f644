package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/coffer-secrets/coffer/client"
)

const (
	formatTable = "table"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatRaw   = "raw"
)

// say prints a message to people; programs that read another format get none.
func (a *app) say(format string, args ...any) error {
	if a.opts.format != formatTable {
		return nil
	}
	return a.text(fmt.Sprintf(format, args...) + "\n")
}

func (a *app) text(text string) error {
	if _, err := io.WriteString(a.out, text); err != nil {
		return failf("Error writing the output: %w", err)
	}
	return nil
}

// warn prints to standard error.
func (a *app) warn(text string) { _, _ = fmt.Fprintln(a.err, text) }

// show prints a value in the format that is asked for: a table as it is given,
// or the value.
func (a *app) show(v any, table func() string) error {
	switch a.opts.format {
	case formatTable:
		return a.text(table())
	case formatYAML:
		text, err := toYAML(v)
		if err != nil {
			return failf("Error writing YAML: %w", err)
		}
		return a.text(text)
	case formatRaw:
		if s, ok := v.(*client.Secret); ok && s.Raw() != nil {
			return a.text(string(s.Raw()))
		}
	}
	text, err := toJSON(v)
	if err != nil {
		return failf("Error writing JSON: %w", err)
	}
	return a.text(text)
}

// toJSON leaves &, < and > as they are.
func toJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.String(), err
}

// secret prints an answer, or the one field of it that is asked for.
func (a *app) secret(s *client.Secret) error {
	if a.opts.field != "" {
		return a.fieldOf(s)
	}
	return a.show(s, func() string {
		a.warnings(s)
		if rows := secretRows(s); len(rows) > 0 {
			return keyValue(rows)
		}
		return ""
	})
}

// warnings prints what the server warned of.
func (a *app) warnings(s *client.Secret) {
	if s == nil || len(s.Warnings) == 0 {
		return
	}
	a.warn("WARNING! The following warnings were returned from the server:\n")
	for _, w := range s.Warnings {
		a.warn("  * " + strings.ReplaceAll(strings.TrimSpace(w), "\n", "\n    "))
	}
	a.warn("")
}

// done prints an answer, or that all went well if it says nothing.
func (a *app) done(s *client.Secret, format string, args ...any) error {
	if !s.Empty() {
		return a.secret(s)
	}
	if a.opts.format == formatTable {
		a.warnings(s)
	} else if s != nil && len(s.Warnings) > 0 {
		return a.secret(s)
	}
	return a.say(format, args...)
}

// names prints the names of a list; as JSON, nothing else of the answer, which
// is the form that scripts know.
func (a *app) names(s *client.Secret, keys []any) error {
	if a.opts.format == formatRaw {
		return a.show(s, nil)
	}
	var b strings.Builder
	b.WriteString("Keys\n----\n")
	for _, key := range keys {
		fmt.Fprintln(&b, key)
	}
	return a.show(keys, b.String)
}

// value prints one field's value: text as it is, without a line end where a
// program reads it.
func (a *app) value(v any) error {
	if a.opts.format == formatJSON || a.opts.format == formatYAML {
		return a.show(v, nil)
	}
	text := fmt.Sprint(v)
	if isTerminal(a.out) {
		text += "\n"
	}
	return a.text(text)
}

// asMap is a value's JSON form, so that its fields are found by the names that
// are printed.
func asMap(v any) (map[string]any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any)
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return out, d.Decode(&out)
}
