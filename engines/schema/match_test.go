package schema_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

func handler(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) {
	return nil, nil
}

// route makes a route that reads, with a string field for every capture.
func route(pattern string, fields ...engines.Field) engines.Route {
	r := engines.Route{Pattern: pattern, Help: "Help of " + pattern, Fields: fields, Ops: []engines.Op{{Do: engines.Read, Handler: handler}}}
	for _, part := range strings.Split(pattern, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			r.Fields = append(r.Fields, engines.Field{Name: strings.Trim(name, ".?}"), Help: "captured"})
		}
	}
	return r
}

func compile(t testing.TB, routes ...engines.Route) *schema.Compiled {
	t.Helper()
	c, err := schema.Compile(&engines.Table{Help: "Help of the mount", Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// matching is a table of routes, and which of them each path belongs to.
func matching(t *testing.T) (*schema.Compiled, map[string]string) {
	t.Helper()
	c := compile(t,
		route("config"), route("roles"), route("roles/{name}"), route("roles/special"),
		route("roles/{name}/creds"), route("{kind}/{name}/rotate"), route("data/{path...}"),
		route("data/fixed/deep"), route("metadata/{path...?}"), route("opt/{path...?}"), route("opt"),
		route("cert/ca.pem"), route("x/{a}/y/{b...}"), route("x/{a}/z/{b}"),
	)
	return c, map[string]string{
		"config":              "config",
		"config/":             "config /",
		"confi":               "",
		"configs":             "",
		"":                    "",
		"/":                   "",
		"/config":             "",
		"config//":            "",
		"roles":               "roles",
		"roles/":              "roles /",
		"roles/a":             "roles/{name} name=a",
		"roles/a/":            "roles/{name} name=a /",
		"roles/special":       "roles/special",
		"roles/special/creds": "roles/{name}/creds name=special",
		"roles/a/creds":       "roles/{name}/creds name=a",
		"roles/a/rotate":      "{kind}/{name}/rotate kind=roles name=a",
		"roles/a/other":       "",
		"roles//creds":        "",
		"data":                "",
		"data/":               "",
		"data/a":              "data/{path...} path=a",
		"data/a/b/c":          "data/{path...} path=a/b/c",
		"data/a/b/":           "data/{path...} path=a/b/ /",
		"data/fixed/deep":     "data/fixed/deep",
		"data/fixed/deep/er":  "data/{path...} path=fixed/deep/er",
		"data/fixed/rotate":   "data/{path...} path=fixed/rotate",
		"data/a//b":           "",
		"metadata":            "metadata/{path...?} path=",
		"metadata/":           "metadata/{path...?} path= /",
		"metadata/a/b":        "metadata/{path...?} path=a/b",
		"opt":                 "opt",
		"opt/a":               "opt/{path...?} path=a",
		"cert/ca.pem":         "cert/ca.pem",
		"cert/ca1pem":         "",
		"x/1/y/2/3":           "x/{a}/y/{b...} a=1 b=2/3",
		"x/1/z/2":             "x/{a}/z/{b} a=1 b=2",
		"x/1/z/2/3":           "",
		"x/y/rotate":          "{kind}/{name}/rotate kind=x name=y",
		"Roles/a":             "",
		"roles/{name}":        "roles/{name} name={name}",
		"roles/%2e":           "roles/{name} name=%2e",
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	c, wants := matching(t)
	for path, want := range wants {
		got := ""
		if m, ok := c.Match(path); ok {
			got = m.Route.Pattern
			for _, capture := range m.Captures {
				got += " " + capture.Name + "=" + capture.Value
			}
			if m.Folder {
				got += " /"
			}
		}
		if got != want {
			t.Errorf("%q matches %q, want %q", path, got, want)
		}
	}
	root := compile(t, route("{path...?}"))
	if m, ok := root.Match(""); !ok || m.Captures[0].Value != "" {
		t.Errorf("the mount itself: %+v, %v", m, ok)
	}
	for _, path := range []string{"/", "//", "a//b", "/a"} {
		if _, ok := root.Match(path); ok {
			t.Errorf("%q matches", path)
		}
	}
}

func TestOp(t *testing.T) {
	t.Parallel()
	r := route("a/{path...?}")
	for _, do := range []engines.Operation{engines.Update, engines.Delete, engines.List, engines.Scan} {
		r.Ops = append(r.Ops, engines.Op{Do: do, Handler: handler})
	}
	other := route("b")
	other.Ops = []engines.Op{{Do: engines.Create, Handler: handler}}
	c := compile(t, r, other)
	for _, x := range []struct {
		path string
		op   engines.Operation
		want engines.Operation // 0: none
	}{
		{"a/x", engines.Read, engines.Read}, {"a/x", engines.Update, engines.Update}, {"a/x", engines.Create, engines.Update},
		{"a/x", engines.List, engines.List}, {"a/x", engines.Patch, 0}, {"a/x", engines.Help, 0}, {"a/x", 0, 0},
		{"b", engines.Update, engines.Create}, {"b", engines.Create, engines.Create}, {"b", engines.Read, 0},
		// A folder is only listed: its slash is not part of what policy saw.
		{"a/x/", engines.Read, 0}, {"a/x/", engines.Update, 0}, {"a/x/", engines.Delete, 0},
		{"a/x/", engines.List, engines.List}, {"a/", engines.Scan, engines.Scan},
	} {
		m, ok := c.Match(x.path)
		if !ok {
			t.Fatal(x.path)
		}
		op, ok := m.Op(x.op)
		if ok != (x.want != 0) || ok && op.Do != x.want {
			t.Errorf("%s %s: %v %v, want %v", x.op, x.path, op, ok, x.want)
		}
	}
	if _, ok := (schema.Match{}).Op(engines.Read); ok {
		t.Error("the zero match offers something")
	}
}

// wrongTables are tables that each have one thing wrong.
func wrongTables() map[string][]engines.Route {
	field := func(change func(f *engines.Field)) engines.Route {
		f := engines.Field{Name: "f", Help: "f"}
		change(&f)
		return route("x", f)
	}
	ops := func(ops ...engines.Op) engines.Route {
		r := route("x")
		r.Ops = ops
		return r
	}
	unhelped := route("x")
	unhelped.Help = " "
	uncaptured := route("x/{y}")
	uncaptured.Fields = nil
	wrongCapture := route("x/{y}")
	wrongCapture.Fields[0].Type = engines.Strings
	return map[string][]engines.Route{
		"the same pattern":      {route("a/b"), route("a/b")},
		"captures alone differ": {route("a/{x}"), route("a/{y}")},
		"rests alone differ":    {route("a/{x...}"), route("a/{y...?}")},
		"empty segment":         {route("a//b")},
		"leading slash":         {route("/a")},
		"trailing slash":        {route("a/")},
		"rest inside":           {route("a/{x...}/b")},
		"half a capture":        {route("a/{x")},
		"capture in a segment":  {route("a/b{x}")},
		"unnamed capture":       {route("a/{}")},
		"odd name":              {route("a/{X}")},
		"capture twice":         {route("a/{x}/{x}", engines.Field{})},
		"nine captures":         {route("{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}")},
		"no field for it":       {uncaptured},
		"a list as capture":     {wrongCapture},
		"no help":               {unhelped},
		"no operations":         {ops()},
		"an operation twice":    {ops(engines.Op{Do: engines.Read, Handler: handler}, engines.Op{Do: engines.Read, Handler: handler})},
		"no handler":            {ops(engines.Op{Do: engines.Read})},
		"no operation":          {ops(engines.Op{Handler: handler})},
		"unknown operation":     {ops(engines.Op{Do: 99, Handler: handler})},
		"unknown trait":         {ops(engines.Op{Do: engines.Read, Trait: 9, Handler: handler})},
		"field twice":           {route("x", engines.Field{Name: "f", Help: "f"}, engines.Field{Name: "f", Help: "f"})},
		"unnamed field":         {field(func(f *engines.Field) { f.Name = "" })},
		"unhelped field":        {field(func(f *engines.Field) { f.Help = "" })},
		"unknown type":          {field(func(f *engines.Field) { f.Type = 99 })},
		"allowed integers":      {field(func(f *engines.Field) { f.Type, f.Allowed = engines.Int, []string{"1"} })},
		"default not allowed":   {field(func(f *engines.Field) { f.Allowed, f.Default = []string{"a"}, "b" })},
		"signed string":         {field(func(f *engines.Field) { f.Signed = true })},
		"body as string":        {field(func(f *engines.Field) { f.Body = true })},
		"int for int64":         {field(func(f *engines.Field) { f.Type, f.Default = engines.Int, 1 })},
		"int for seconds":       {field(func(f *engines.Field) { f.Type, f.Default = engines.Seconds, int64(1) })},
		"string for bool":       {field(func(f *engines.Field) { f.Type, f.Default = engines.Bool, "true" })},
		"bytes for JSON":        {field(func(f *engines.Field) { f.Type, f.Default = engines.JSON, []byte("1") })},
		"two bodies": {route("x", engines.Field{Name: "f", Help: "f", Type: engines.Map, Body: true},
			engines.Field{Name: "g", Help: "g", Type: engines.Map, Body: true})},
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for name, routes := range wrongTables() {
		if _, err := schema.Compile(&engines.Table{Routes: routes}); err == nil {
			t.Errorf("%s: compiles", name)
		}
	}
}

func TestCompileTakesDefaults(t *testing.T) {
	t.Parallel()
	var fields []engines.Field
	for i, value := range []any{"s", int64(1), 1.5, true, time.Second, []string{"a"}, []int64{1}, map[string]string{}, map[string]json.RawMessage{}, json.RawMessage("1"), time.Time{}} {
		fields = append(fields, engines.Field{Name: fmt.Sprint("f", i), Help: "f", Type: engines.FieldType(i), Default: value})
	}
	c := compile(t, route("x", fields...))
	m, _ := c.Match("x")
	values, _, err := m.Decode(engines.Update, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		if values.Get(f.Name) == nil || values.Has(f.Name) {
			t.Errorf("%s: %v", f.Name, values.Get(f.Name))
		}
	}
}
