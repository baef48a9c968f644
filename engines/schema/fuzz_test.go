package schema_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

var bodySeeds = []string{
	``, `null`, `{}`, `[]`, `{"a":1}`, `{"a":"b","c":[1,2,{"d":null}],"e":{"f":{}}}`, `{"a":1,"a":2}`, `{"a":"\ud83d\ude00\u0000"}`,
	`{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":1e999,"b":-0.0}`, `{"a":[[[[[[[[[[]]]]]]]]]]}`, `{"a":`, `{"a":tru`, `{"a" 1}`, ` { "a" : "1h30m" } `,
	`{"a":"1,2,3","b":"k=v","c":"2025-01-02T03:04:05Z","d":"[\"x\"]"}`,
}

// FuzzParseBody checks that what is taken is JSON to the standard library too,
// that its members are the same, and that no error repeats what came in.
func FuzzParseBody(f *testing.F) {
	for _, seed := range bodySeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		members, err := schema.ParseBody(raw, schema.Limits{Depth: 20, Tokens: 200})
		if string(raw) != before {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if engines.KindOf(err) != engines.KindInvalid || members != nil {
				t.Errorf("error %v with members %v", err, members)
			}
			return
		}
		var want map[string]json.RawMessage
		if len(strings.TrimSpace(before)) > 0 {
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatalf("taken, but %v", err)
			}
		}
		if len(want) != len(members) || !utf8.Valid(raw) {
			t.Fatalf("%d members, want %d", len(members), len(want))
		}
		for name, value := range want {
			if string(members[name]) != string(value) {
				t.Errorf("member %q is %q, want %q", name, members[name], value)
			}
		}
	})
}

// FuzzDecode reads one member as every type there is, from body and query.
func FuzzDecode(f *testing.F) {
	for _, seed := range bodySeeds {
		f.Add(seed, "1")
	}
	for _, value := range []string{`"1h"`, `"-1d"`, `9223372036854775807`, `"[1,2]"`, `"a=b"`, `{"k":"v"}`, `[1,"2"]`, `"2025-01-02T03:04:05+25:00"`, `1e300`} {
		f.Add(`{"a":`+value+`}`, strings.Trim(value, `"`))
	}
	f.Fuzz(func(t *testing.T, text, query string) {
		body, err := schema.ParseBody([]byte(text), schema.Limits{})
		if err != nil {
			body = nil
		}
		for kind := engines.String; kind <= engines.Time; kind++ {
			m, _ := compile(t, route("x/{p}", engines.Field{Name: "a", Help: "a", Type: kind, Signed: kind == engines.Seconds})).Match("x/y")
			for _, op := range []engines.Operation{engines.Read, engines.Update} {
				values, _, err := m.Decode(op, url.Values{"a": {query, query}}, body)
				if err != nil {
					if engines.KindOf(err) != engines.KindInvalid || !strings.HasPrefix(err.Error(), `field "a": `) {
						t.Errorf("%s: %v", kind, err)
					}
					continue
				}
				getters(values, kind) // panics on a wrong dynamic type
			}
		}
	})
}

func getters(v engines.Values, kind engines.FieldType) {
	switch kind {
	case engines.String:
		v.String("a")
	case engines.Int:
		v.Int("a")
	case engines.Float:
		v.Float("a")
	case engines.Bool:
		v.Bool("a")
	case engines.Seconds:
		v.Duration("a")
	case engines.Strings:
		v.Strings("a")
	case engines.Ints:
		v.Ints("a")
	case engines.KVPairs:
		v.KVPairs("a")
	case engines.Map:
		v.Map("a")
	case engines.JSON:
		v.JSON("a")
	case engines.Time:
		v.Time("a")
	}
}

// FuzzMatch checks that no path panics, and that what is captured is part of
// the path.
func FuzzMatch(f *testing.F) {
	c := compile(f, route("a/{x}/b"), route("a/{x}/{y...}"), route("{z...?}"), route("a/c/b"), route("{p}/{q}/{r}/{s}/d"))
	for _, seed := range []string{"", "a", "a/", "a/c/b", "a/b/c/d/", "//", "/a", "a/c/b/", "1/2/3/4/d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		m, ok := c.Match(path)
		if ok && (strings.Contains(path, "//") || strings.HasPrefix(path, "/")) {
			t.Errorf("%q matches", path)
		}
		for _, capture := range m.Captures {
			if !strings.Contains(path, capture.Value) {
				t.Errorf("%q gives %q", path, capture.Value)
			}
		}
	})
}

func BenchmarkMatchDecode(b *testing.B) {
	c := compile(b, route("config"), route("data/{path...}",
		engines.Field{Name: "data", Type: engines.JSON, Help: "d"}, engines.Field{Name: "options", Type: engines.Map, Help: "o"},
		engines.Field{Name: "version", Type: engines.Int, Help: "v"}), route("metadata/{path...?}"))
	raw := []byte(`{"data":{"username":"app","password":"Tr0ub4dor&3","hosts":["db-1.example.com","db-2.example.com","db-3.example.com"],"note":"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris"},"options":{}}`)
	query := url.Values{}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m, _ := c.Match("data/team/app/db")
			if _, _, err := m.Decode(engines.Read, query, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m, _ := c.Match("data/team/app/db")
			body, err := schema.ParseBody(raw, schema.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			if _, _, err := m.Decode(engines.Update, query, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
