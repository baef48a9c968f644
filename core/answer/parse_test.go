package answer_test

import (
	"encoding/json"
	"testing"

	"github.com/coffer-secrets/coffer/core/answer"
)

// TestParse: an answer that is written, read and written again stays the same.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, e := range []answer.Envelope{
		{RequestID: "id", MountType: "kv", Data: map[string]any{"n": json.Number("12345678901234567890"), "s": "x"}},
		{RequestID: "id", Auth: &answer.Auth{ClientToken: "t", Policies: []string{"a"}, Metadata: map[string]string{"k": "v"}, NumUses: 3}},
		{RequestID: "id", WrapInfo: &answer.Info{Token: "t", TTL: 60, CreationPath: "p"}, Warnings: []string{"w", "x"}},
		{RequestID: "id", LeaseID: "l", Renewable: true, LeaseDuration: 5, Extra: map[string]any{"only": "one"}},
	} {
		text, err := e.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		read, err := answer.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := read.AppendJSON(nil)
		if err != nil || string(again) != string(text) {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	}
	if _, err := answer.Parse([]byte("{")); err == nil {
		t.Error("half an answer was read")
	}
}
