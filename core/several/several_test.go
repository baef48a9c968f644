package several_test

import (
	"encoding/json"
	"testing"

	"github.com/coffer-secrets/coffer/core/several"
)

// TestAnswers: each says only what there is to say.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s := several.Answers{{Data: json.RawMessage(`{"k":1}`)}, {}, {Missing: true}, {Data: json.RawMessage(`[1]`), Missing: true, Warnings: []string{"w"}}}
	text, err := s.AppendJSON(nil)
	const want = `{"operations":[{"data":{"k":1}},{},{"missing":true},{"data":[1],"missing":true,"warnings":["w"]}]}`
	if err != nil || string(text) != want {
		t.Errorf("wrote %s, %v, want %s", text, err, want)
	}
}

// FuzzParse: whatever comes is refused or understood, within bounds.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`[{"operation":"update","path":"a/b","data":{"k":"v"}}]`, `"[{\"operation\":\"read\",\"path\":\"a\",\"data\":{\"version\":1}}]"`,
		`[]`, `null`, `[{"operation":"list","path":"a","data":[]}]`, `[{}`, `"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := several.Parse(map[string]json.RawMessage{several.Field: text})
		if err == nil && (len(list) == 0 || len(list) > 128) {
			t.Errorf("%d operations", len(list))
		}
		for _, o := range list {
			if o.Op == 0 || o.Query != nil && o.Body != nil {
				t.Errorf("%+v", o)
			}
		}
	})
}
