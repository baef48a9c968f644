package audit_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
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

// TestOperationsOfOneRequest: each of several operations of one request has
// records of its own, as it would have by itself, and the whole shows no value.
func TestOperationsOfOneRequest(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("kv", "kv", map[string]string{"version": "2"})
	file := s.enable("f", nil)
	s.Put("sys/transaction", body{"operations": []body{
		{"operation": "update", "path": "kv/data/a", "data": body{"data": body{"pin": 8675309, "word": "canary"}}},
		{"operation": "read", "path": "kv/data/a"},
	}})
	refused(t, put(s, "sys/transaction", body{"operations": []body{
		{"operation": "update", "path": "kv/data/b", "data": body{"data": body{"word": "canary"}}},
		{"operation": "update", "path": "kv/data/a", "data": body{"data": body{}, "options": body{"cas": 7}}},
	}}), http.StatusBadRequest, "operation 2: check-and-set")
	all := records(t, file)
	for _, c := range []struct {
		kind, path, operation string
		want, failed          int
	}{
		{"request", "sys/transaction", "update", 2, 0}, {"response", "sys/transaction", "update", 2, 1},
		{"request", "kv/data/a", "create", 1, 0}, {"response", "kv/data/a", "create", 1, 0},
		{"request", "kv/data/a", "read", 1, 0}, {"response", "kv/data/a", "read", 1, 0},
		{"request", "kv/data/b", "create", 1, 0}, {"response", "kv/data/b", "create", 1, 1},
		{"request", "kv/data/a", "update", 1, 0}, {"response", "kv/data/a", "update", 1, 1},
	} {
		n, failed := 0, 0
		for _, r := range on(all, c.kind, c.path) {
			if at(r, "request", "operation") != c.operation {
				continue
			}
			n++
			if r["error"] != nil {
				failed++
			}
			if at(r, "auth", "accessor") == nil || at(r, "request", "mount_type") == nil {
				t.Errorf("it is not said who or where: %v", r)
			}
		}
		if n != c.want || failed != c.failed {
			t.Errorf("%d records of a %s to %s %s, %d of a failure, want %d and %d", n, c.kind, c.operation, c.path, failed, c.want, c.failed)
		}
	}
	whole := on(all, "request", "sys/transaction")[0]
	for i, part := range []string{"create", "read"} {
		r := on(all, "request", "kv/data/a")[i]
		if want := fmt.Sprintf("%v.%d", at(whole, "request", "id"), i+1); at(r, "request", "id") != want || at(r, "request", "operation") != part {
			t.Errorf("part %d is recorded as %v of %v, want %v", i+1, at(r, "request", "operation"), at(r, "request", "id"), want)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"8675309", "canary"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%q stands in a record", secret)
		}
	}
}
