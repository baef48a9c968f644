package cubbyhole_test

import (
	"fmt"
	"net/url"
	"reflect"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/cubbyhole"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

func as(h *enginetest.Harness, token string) *enginetest.Harness {
	h.Caller = engines.Caller{TokenKey: token}
	return h
}

// read returns what a token reads at a path, nil if nothing is there.
func read(t *testing.T, h *enginetest.Harness, path string) map[string]any {
	t.Helper()
	resp, err := h.Do(engines.Read, path, nil, nil)
	if engines.KindOf(err) == engines.KindNotFound {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return enginetest.Data(t, resp)
}

func list(t *testing.T, h *enginetest.Harness, path, query string) string {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.Do(engines.List, path, nil, values)
	if engines.KindOf(err) == engines.KindNotFound {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(enginetest.Data(t, resp)["keys"])
}

func write(t *testing.T, h *enginetest.Harness, path, body string) {
	t.Helper()
	if resp, err := h.Do(engines.Update, path, body, nil); err != nil || resp != nil {
		t.Fatalf("write %s: %+v, %v", path, resp, err)
	}
}

func TestKeeps(t *testing.T) {
	t.Parallel()
	h := enginetest.Mount(t, cubbyhole.New(), nil)
	if got := read(t, h, "a/b"); got != nil {
		t.Errorf("reads %v before it is written", got)
	}
	write(t, h, "a/b", `{"x":{"y":[1]},"path":"p"}`)
	write(t, h, "a/b", `{"z":true}`)
	if got := read(t, h, "a/b"); !reflect.DeepEqual(got, map[string]any{"z": true}) {
		t.Errorf("reads %v", got)
	}
	write(t, h, "a", `{"q":1}`)
	write(t, h, "c", `{"q":1}`)
	for ask, want := range map[string]string{"": "[a a/ c]", "a": "[b]", "a/": "[b]", "c": "none", "x": "none"} {
		if got := list(t, h, ask, ""); got != want {
			t.Errorf("list %q: %s, want %s", ask, got, want)
		}
	}
	if got := list(t, h, "", "after=a&limit=1"); got != "[a/]" {
		t.Errorf("page: %s", got)
	}
	for range 2 {
		if _, err := h.Do(engines.Delete, "a/b", nil, nil); err != nil {
			t.Error(err)
		}
	}
	if got := read(t, h, "a/b"); got != nil {
		t.Errorf("reads %v after it is deleted", got)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	h := enginetest.Mount(t, cubbyhole.New(), nil)
	for _, c := range []struct {
		op         engines.Operation
		path, body string
		kind       engines.Kind
		text       string
	}{
		{engines.Update, "a", ``, engines.KindInvalid, "missing data fields"},
		{engines.Update, "a", `{}`, engines.KindInvalid, "missing data fields"},
		{engines.Update, "", `{"a":1}`, engines.KindInvalid, "missing path"},
		{engines.Delete, "", ``, engines.KindInvalid, "missing path"},
		{engines.Read, "", ``, engines.KindNotFound, ""},
		{engines.Patch, "a", `{"a":1}`, engines.KindMethod, "unsupported operation"},
	} {
		if _, err := h.Do(c.op, c.path, c.body, nil); engines.KindOf(err) != c.kind || err.Error() != c.text {
			t.Errorf("%s %q %s: %v", c.op, c.path, c.body, err)
		}
	}
}

// TestNoOtherToken reaches for another token's rows in every way.
func TestNoOtherToken(t *testing.T) {
	t.Parallel()
	h := enginetest.Mount(t, cubbyhole.New(), nil)
	write(t, as(h, "one"), "secret", `{"x":1}`)
	for _, other := range []string{"two", "on", "one2", "o"} {
		as(h, other).Caller.Root = true
		for _, path := range []string{"secret", "one/secret", "e/secret", "../one/secret"} {
			if got := read(t, h, path); got != nil {
				t.Errorf("%s reads %v at %s", other, got, path)
			}
			if _, err := h.Do(engines.Delete, path, nil, nil); err != nil {
				t.Error(err)
			}
		}
		if got := list(t, h, "", "") + list(t, h, "one", ""); got != "nonenone" {
			t.Errorf("%s lists %s", other, got)
		}
	}
	if got := read(t, as(h, "one"), "secret"); got == nil {
		t.Error("what one kept is gone")
	}
	for token, kind := range map[string]engines.Kind{"": engines.KindDenied, "one/secret": engines.KindInternal} {
		for _, op := range []engines.Operation{engines.Read, engines.Update, engines.Delete, engines.List} {
			if _, err := as(h, token).Do(op, "secret", `{"a":1}`, nil); engines.KindOf(err) != kind {
				t.Errorf("%s with token %q: %v", op, token, err)
			}
		}
	}
}

// TestDir removes what a token kept, as the core does when the token ends.
func TestDir(t *testing.T) {
	t.Parallel()
	h := enginetest.Mount(t, cubbyhole.New(), nil)
	for _, token := range []string{"one", "one2"} {
		write(t, as(h, token), "a/b", `{"x":1}`)
		write(t, as(h, token), "c", `{"x":1}`)
	}
	tx := h.Store.Begin()
	if err := tx.DeletePrefix(cubbyhole.Dir("one")); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if rows := fmt.Sprint(h.Store.Rows()); rows != "[one2/a/b one2/c]" {
		t.Errorf("left: %s", rows)
	}
}

// TestCreateOrUpdate tells the first write from the next.
func TestCreateOrUpdate(t *testing.T) {
	t.Parallel()
	h := enginetest.Mount(t, cubbyhole.New(), nil)
	match, _ := h.Compiled().Match("x")
	op, _ := match.Op(engines.Update)
	req := &engines.Request{Op: engines.Update, Caller: h.Caller, Fields: engines.NewValues(map[string]any{"path": "x"}, nil)}
	for _, want := range []bool{false, true} {
		if got, err := op.Exists(t.Context(), req, h.Store.Begin()); got != want || err != nil {
			t.Errorf("exists %v, %v, want %v", got, err, want)
		}
		write(t, h, "x", `{"a":1}`)
	}
}
