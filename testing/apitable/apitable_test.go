package apitable_test

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/apitable"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestTable holds the server to the table: a row is there, or left out with a
// reason, never both.
func TestTable(t *testing.T) {
	t.Parallel()
	rows := parse(t, "testdata/api.tsv", apitable.Parse)
	leftOut := parse(t, "testdata/left-out.tsv", apitable.ParseLeftOut)
	index := document(t).Index()
	used := make(map[string]bool)
	for i := range rows {
		row := &rows[i]
		key := row.Method + " " + row.Path
		problems := apitable.Compare(row, index)
		entry, reason := find(leftOut, row)
		if reason != "" {
			if used[entry] = true; len(problems) == 0 {
				t.Errorf("%s is there, and left out because %q", key, reason)
			}
			continue
		}
		for _, problem := range problems {
			field := key + "#" + problem.Field
			if problem.Field != "" && leftOut[field] != "" {
				used[field] = true
				continue
			}
			t.Errorf("%s: %s %s", key, problem.Field, problem.Text)
		}
	}
	for entry := range leftOut {
		if !used[entry] {
			t.Errorf("%s is left out, and there, or not in the table", entry)
		}
	}
}

// find returns the entry that leaves a row out, and why.
func find(leftOut map[string]string, row *apitable.Row) (entry, reason string) {
	key := row.Method + " " + row.Path
	if reason, ok := leftOut[key]; ok {
		return key, reason
	}
	for entry, reason := range leftOut {
		pattern, all := strings.CutPrefix(entry, "* ")
		if all && strings.HasPrefix(row.Path, strings.TrimSuffix(pattern, "*")) {
			return entry, reason
		}
	}
	return "", ""
}

func parse[T any](t *testing.T, name string, read func(r io.Reader) (T, error)) T {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	parsed, err := read(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return parsed
}

// document is that of a server with every engine of the table mounted.
func document(t *testing.T) *apitable.Document {
	t.Helper()
	s := kit.New(t, kit.RawStorage())
	s.Mount("secret", "kv", map[string]string{"version": "2"})
	s.Mount("database", "database", nil)
	s.Mount("pki", "pki", nil)
	for _, engine := range []string{"approle", "cert", "jwt", "kubernetes", "userpass"} {
		s.Put("sys/auth/"+engine, map[string]any{"type": engine})
	}
	doc := new(apitable.Document)
	if err := json.Unmarshal(s.Get("sys/internal/specs/openapi?generic_mount_paths=true").Raw, doc); err != nil {
		t.Fatal(err)
	}
	return doc
}
