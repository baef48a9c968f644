package kv_test

import (
	"encoding/json"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
	"github.com/coffer-secrets/coffer/engines/kv"
)

// kit is a mount with assertions.
type kit struct {
	*enginetest.Harness
	t testing.TB
}

func mount(t testing.TB, version string) *kit {
	t.Helper()
	return &kit{Harness: enginetest.Mount(t, kv.New(), map[string]string{"version": version}), t: t}
}

// do asks and expects success. Query is "a=1&b=2".
func (k *kit) do(op engines.Operation, path, body, query string) *engines.Response {
	k.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		k.t.Fatal(err)
	}
	resp, err := k.Do(op, path, body, values)
	if err != nil {
		k.t.Fatalf("%s %s %s: %v (%d)", op, path, body, err, engines.KindOf(err))
	}
	return resp
}

// data asks and gives the answer's data.
func (k *kit) data(op engines.Operation, path, body, query string) map[string]any {
	k.t.Helper()
	return enginetest.Data(k.t, k.do(op, path, body, query))
}

// write expects an empty answer.
func (k *kit) write(op engines.Operation, path, body string) {
	k.t.Helper()
	if resp := k.do(op, path, body, ""); resp != nil {
		k.t.Errorf("%s %s: answer %+v, want none", op, path, resp)
	}
}

// fails asks and expects an error of a kind with a text.
func (k *kit) fails(kind engines.Kind, text string, op engines.Operation, path, body, query string) {
	k.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		k.t.Fatal(err)
	}
	resp, err := k.Do(op, path, body, values)
	if err == nil {
		k.t.Fatalf("%s %s %s: answer %+v, want error %q", op, path, body, resp, text)
	}
	if engines.KindOf(err) != kind || err.Error() != text {
		k.t.Errorf("%s %s %s: error %d %q, want %d %q", op, path, body, engines.KindOf(err), err, kind, text)
	}
}

func (k *kit) absent(op engines.Operation, path, query string) {
	k.t.Helper()
	k.fails(engines.KindNotFound, "", op, path, "", query)
}

// keys lists names.
func (k *kit) keys(op engines.Operation, path, query string) []string {
	k.t.Helper()
	return keysOf(k.t, k.do(op, path, "", query))
}

func (k *kit) after(d time.Duration) { k.Now = k.Now.Add(d) }

// same compares with JSON text.
func same(t testing.TB, what string, got any, want string) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%s: want: %v", what, err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s:\n got %s\nwant %s", what, text, want)
	}
}

// encode is JSON text for same.
func encode(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func keysOf(t testing.TB, resp *engines.Response) []string {
	t.Helper()
	var names []string
	for _, name := range enginetest.Data(t, resp)["keys"].([]any) {
		names = append(names, name.(string))
	}
	return names
}
