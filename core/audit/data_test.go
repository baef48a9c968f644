package audit_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestDataOfEveryForm: whatever JSON allows stands in a record in its place, and
// of a secret field as the hashes of what it says, however that was spelled.
func TestDataOfEveryForm(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("one", "kv", nil)
	file := s.enable("file", nil)
	const sent = ` { "text" : "caf\u00e9 \ud83d\ude00 \"quoted\"\\" , "plain":"a,b]}:{" , "number":-1.5e3,"list":[[ ],{ },[1,"x",null,true]],` +
		"\"deep\":{\"a\":{\"b\":[false]}},\"none\":null,\"empty\":\"\",\"wide\":\"h\u00e4h\",\n\t\"odd\\u0020name\":\"y\"}"
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "one/x", Body: sent})
	s.Get("one/x")
	want, err := json.Marshal(map[string]any{
		"text": s.hash("file", "café 😀 \"quoted\"\\"), "plain": s.hash("file", "a,b]}:{"), "number": s.hash("file", "-1.5e3"),
		"list": []any{[]any{}, body{}, []any{s.hash("file", "1"), s.hash("file", "x"), nil, s.hash("file", "true")}}, "deep": body{"a": body{"b": []any{s.hash("file", "false")}}},
		"none": nil, "empty": "", "wide": s.hash("file", "häh"), "odd name": s.hash("file", "y"),
	})
	if err != nil {
		t.Fatal(err)
	}
	all := records(t, file)
	for _, data := range []any{
		at(on(all, "request", "one/x")[0], "request", "data"), at(on(all, "response", "one/x")[1], "response", "data"),
	} {
		if got, err := json.Marshal(data); err != nil || string(got) != string(want) {
			t.Errorf("the data are %s\nwant         %s (%v)", got, want, err)
		}
	}
}
