package why_test

import (
	"testing"

	"github.com/coffer-secrets/coffer/cmd/internal/cli/why"
)

func TestWords(t *testing.T) {
	t.Parallel()
	e, err := why.Parse(map[string]any{
		"path": "kv/data/bob", "operation": "read", "allowed": false, "reason": "r", "sudo_required": true,
		"rule": map[string]any{"path": "kv/data/bob", "capabilities": []string{"list", "update"}, "sources": []any{
			map[string]any{"policy": "own", "line": 3, "path": "kv/data/{{identity.entity.name}}"},
			map[string]any{"policy": "plain", "line": 0, "path": "kv/data/bob"},
		}},
		"lost": []any{map[string]any{"path": "kv/*", "capabilities": []string{"read"}, "sources": []any{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `Denied: read kv/data/bob
Reason: r
The path needs the capability "sudo" too.

The rule that decides:
  path "kv/data/bob"  [list, update]
    policy "own", line 3, from the template "kv/data/{{identity.entity.name}}"
    policy "plain"

Rules that fit too, and lost to it:
  path "kv/*"  [read]
`
	if got := e.String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestOtherAnswers(t *testing.T) {
	t.Parallel()
	for _, data := range []map[string]any{nil, {"path": 7}, {"keys": []string{}}, {"operation": "read", "rule": "x"}} {
		if e, err := why.Parse(data); err == nil {
			t.Errorf("%v was taken for %v", data, e)
		}
	}
}
