package apitable

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Row is one method of one path.
type Row struct {
	Path   string
	Method string
	// Public rows need no token, Sudo rows the sudo capability.
	Public bool
	Sudo   bool
	// Query are the names of its query parameters.
	Query  []string
	Fields []Field
}

// Field is one member of a row's body.
type Field struct {
	Name       string
	Type       string
	Default    string
	Deprecated bool
}

// captures are the parameters of a path.
var captures = regexp.MustCompile(`\{[^}]*\}`) //nolint:gochecknoglobals // a constant

// anonymous is a path whose parameters are called nothing, for their names do
// not matter; but for those that say which engine is mounted there.
func anonymous(path string) string {
	return captures.ReplaceAllStringFunc(path, func(name string) string {
		if strings.HasSuffix(name, "_mount_path}") {
			return name
		}
		return "{}"
	})
}

// Parse reads a table: tab-separated lines below a heading.
func Parse(r io.Reader) ([]Row, error) {
	var rows []Row
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		columns := strings.Split(lines.Text(), "\t")
		if n == 1 {
			continue
		}
		if len(columns) < 5 || !strings.HasPrefix(columns[0], "/") {
			return nil, fmt.Errorf("line %d: %d columns", n, len(columns))
		}
		flags := strings.Fields(columns[2])
		row := Row{
			Path: columns[0], Method: columns[1], Public: slices.Contains(flags, "unauth"), Sudo: slices.Contains(flags, "sudo"),
			Query: strings.Fields(columns[3]),
		}
		for _, text := range strings.Fields(columns[4]) {
			field, err := parseField(text)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			row.Fields = append(row.Fields, field)
		}
		rows = append(rows, row)
	}
	return rows, lines.Err()
}

// parseField reads "name:type", "name:type=default" or "name:type(deprecated)".
func parseField(text string) (Field, error) {
	var f Field
	text, f.Deprecated = strings.CutSuffix(text, "(deprecated)")
	name, rest, ok := strings.Cut(text, ":")
	if !ok {
		return f, fmt.Errorf("%q is no field", text)
	}
	f.Name = name
	f.Type, f.Default, _ = strings.Cut(rest, "=")
	return f, nil
}

// ParseLeftOut reads what is left out: "METHOD /path" as the table has it, or
// "* /path*" for all methods of all paths that begin so, a tab, and the reason. Lines that start with
// "#" say something about those that follow.
func ParseLeftOut(r io.Reader) (map[string]string, error) {
	out := make(map[string]string)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		what, reason, ok := strings.Cut(line, "\t")
		method, path, _ := strings.Cut(what, " ")
		if !ok || reason == "" || (method == "*") != strings.HasSuffix(path, "*") || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("line %d: want METHOD /path, or * /path*, a tab and the reason", n)
		}
		out[what] = reason
	}
	return out, lines.Err()
}
