package schema_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

func TestParseBody(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		"":        {},
		" \n":     {},
		"null":    {},
		" null\n": {},
		"{}":      {},
		` {"a" : 1.50e1 , "b":[ 1,{"c":null} ]} `: {"a": "1.50e1", "b": `[ 1,{"c":null} ]`},
		`{"\u0061":"x","":""}`:                    {"a": `"x"`, "": `""`},
		`{"a":{"x":1},"b":{"x":1}}`:               {"a": `{"x":1}`, "b": `{"x":1}`},
	} {
		raw := []byte(text)
		got, err := schema.ParseBody(raw, schema.Limits{})
		if err != nil || len(got) != len(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		for name, value := range want {
			if string(got[name]) != value {
				t.Errorf("%q: member %q is %q, want %q", text, name, got[name], value)
			}
		}
	}
}

func TestParseBodyRefuses(t *testing.T) {
	t.Parallel()
	const at = "error in the request body at "
	for text, want := range map[string]string{
		`[1]`:                         "the request body must be a JSON object",
		`"hush"`:                      "the request body must be a JSON object",
		`17`:                          "the request body must be a JSON object",
		"{\n\"hush\":1,\n\"hush\":2}": at + "line 3, offset 12: an object has the same key twice",
		`{"a":{"hush":1,"hush":2}}`:   at + "line 1, offset 15: an object has the same key twice",
		`{"hush":`:                    at + "line 1, offset 8: the JSON ends too early",
		`{"hush":"x`:                  at + "line 1, offset 10: the JSON ends too early",
		`{"hush" 1}`:                  at + "line 1, offset 8: malformed JSON",
		`{"hush":tru}`:                at + "line 1, offset 11: malformed JSON",
		`{"hush":01}`:                 at + "line 1, offset 9: malformed JSON",
		`{"hush":1,}`:                 at + "line 1, offset 9: malformed JSON",
		`{"hush":1} x`:                at + "line 1, offset 11: malformed JSON",
		`{"hush":1}{}`:                at + "line 1, offset 11: text after the object",
		`null 1`:                      at + "line 1, offset 6: text after the object",
		"{\"hush\":\"\xff\"}":         at + "line 1, offset 9: not valid UTF-8",
		`{"hush":"\ud800"}`:           at + "line 1, offset 9: malformed JSON",
		`hush`:                        at + "line 1, offset 0: malformed JSON",
		`{"a":[[[]]]}`:                at + "line 1, offset 7: nested deeper than 3 levels",
		`{"a":[1,2,3,4,5,6,7,8]}`:     at + "line 1, offset 18: more than 9 JSON tokens",
	} {
		_, err := schema.ParseBody([]byte(text), schema.Limits{Depth: 3, Tokens: 9})
		if engines.KindOf(err) != engines.KindInvalid || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestParseBodyDefaults(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte {
		return []byte(`{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + "}")
	}
	long := func(n int) []byte {
		return []byte(`{"a":[1` + strings.Repeat(",1", n-1) + "]}")
	}
	for name, c := range map[string]struct {
		body []byte
		ok   bool
	}{
		"depth 64":    {nested(64), true},
		"depth 65":    {nested(65), false},
		"depth 1e6":   {nested(1_000_000), false},
		"99995 items": {long(99_995), true},
		"99996 items": {long(99_996), false},
	} {
		if _, err := schema.ParseBody(c.body, schema.Limits{}); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// decodeOne decodes one field from a body.
func decodeOne(t *testing.T, f engines.Field, raw string) (engines.Values, []string, error) {
	t.Helper()
	body, err := schema.ParseBody([]byte(`{"f":`+raw+`}`), schema.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f.Name, f.Help = "f", "f"
	m, _ := compile(t, route("x", f)).Match("x")
	return m.Decode(engines.Update, nil, body)
}

func TestDecodeTypes(t *testing.T) {
	t.Parallel()
	bad := fmt.Errorf("bad")
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for _, c := range []struct {
		kind engines.FieldType
		raw  string
		want any // bad for an error
	}{
		{engines.String, `"x"`, "x"}, {engines.String, `"\u00e9\n"`, "é\n"}, {engines.String, `12.50`, "12.50"},
		{engines.String, `true`, "1"}, {engines.String, `false`, "0"}, {engines.String, `[]`, bad}, {engines.String, `{}`, bad},
		{engines.Int, `12`, int64(12)}, {engines.Int, `"12"`, int64(12)}, {engines.Int, `-3`, int64(-3)}, {engines.Int, `""`, int64(0)},
		{engines.Int, `1e3`, int64(1000)}, {engines.Int, `2.0`, int64(2)}, {engines.Int, `9223372036854775807`, int64(1<<63 - 1)},
		{engines.Int, `9223372036854775808`, bad}, {engines.Int, `1.5`, bad}, {engines.Int, `"x"`, bad}, {engines.Int, `"0x10"`, bad},
		{engines.Int, `true`, bad}, {engines.Int, `[1]`, bad}, {engines.Int, `1e400`, bad}, {engines.Int, `"NaN"`, bad}, {engines.Int, `"inf"`, bad},
		{engines.Float, `1.5`, 1.5}, {engines.Float, `"2"`, 2.0}, {engines.Float, `"x"`, bad}, {engines.Float, `"inf"`, bad}, {engines.Float, `{}`, bad},
		{engines.Bool, `true`, true}, {engines.Bool, `"true"`, true}, {engines.Bool, `"0"`, false}, {engines.Bool, `1`, true},
		{engines.Bool, `""`, false}, {engines.Bool, `2`, bad}, {engines.Bool, `"yes"`, bad}, {engines.Bool, `[]`, bad},
		{engines.Seconds, `3600`, time.Hour}, {engines.Seconds, `"3600"`, time.Hour}, {engines.Seconds, `"1h30m"`, 90 * time.Minute},
		{engines.Seconds, `"1d"`, 24 * time.Hour}, {engines.Seconds, `""`, time.Duration(0)}, {engines.Seconds, `3.6e3`, time.Hour},
		{engines.Seconds, `" 5s "`, 5 * time.Second}, {engines.Seconds, `1.5`, bad}, {engines.Seconds, `-1`, bad}, {engines.Seconds, `"-1s"`, bad},
		{engines.Seconds, `9223372037`, bad}, {engines.Seconds, `"106752d"`, bad}, {engines.Seconds, `"x"`, bad}, {engines.Seconds, `true`, bad},
		{engines.Seconds, `"-9223372036854775808"`, bad}, {engines.Seconds, `"1.5d"`, bad}, {engines.Seconds, `"d"`, bad}, {engines.Seconds, `"9999999h"`, bad},
		{engines.Strings, `["a"," b ",1,true]`, []string{"a", "b", "1", "true"}}, {engines.Strings, `"a, b,,c"`, []string{"a", "b", "", "c"}},
		{engines.Strings, `""`, []string{}}, {engines.Strings, `[]`, []string{}}, {engines.Strings, `"[\"a,b\",\"c\"]"`, []string{"a,b", "c"}},
		{engines.Strings, `"[a,b]"`, []string{"[a", "b]"}}, {engines.Strings, `5`, []string{"5"}}, {engines.Strings, `[["a"]]`, bad},
		{engines.Strings, `[null]`, bad}, {engines.Strings, `{}`, bad}, {engines.Strings, `true`, bad},
		{engines.Ints, `[1,"2"]`, []int64{1, 2}}, {engines.Ints, `"1, 2"`, []int64{1, 2}}, {engines.Ints, `7`, []int64{7}},
		{engines.Ints, `""`, []int64{}}, {engines.Ints, `["x"]`, bad}, {engines.Ints, `"1,,2"`, bad}, {engines.Ints, `[1.5]`, bad},
		{engines.KVPairs, `{"a":"b","c":1,"d":null,"e":true}`, map[string]string{"a": "b", "c": "1", "d": "", "e": "true"}},
		{engines.KVPairs, `["a=b","c=d=e","f="]`, map[string]string{"a": "b", "c": "d=e", "f": ""}},
		{engines.KVPairs, `"a=b,c"`, map[string]string{"a": "b,c"}}, {engines.KVPairs, `""`, map[string]string{}},
		{engines.KVPairs, `"x"`, bad}, {engines.KVPairs, `["x"]`, bad}, {engines.KVPairs, `{"a":[]}`, bad}, {engines.KVPairs, `1`, bad},
		{engines.Map, `{"a": 1.0}`, map[string]json.RawMessage{"a": raw("1.0")}}, {engines.Map, `{}`, map[string]json.RawMessage{}},
		{engines.Map, `"x"`, bad}, {engines.Map, `[]`, bad}, {engines.Map, `1`, bad}, {engines.Map, `true`, bad},
		{engines.JSON, `{"a": [1.0]}`, raw(`{"a": [1.0]}`)}, {engines.JSON, `"x"`, raw(`"x"`)}, {engines.JSON, `null`, raw(`null`)},
		{engines.Time, `"2025-01-02T03:04:05.5Z"`, time.Date(2025, 1, 2, 3, 4, 5, 5e8, time.UTC)}, {engines.Time, `60`, time.Unix(60, 0).UTC()},
		{engines.Time, `"60"`, time.Unix(60, 0).UTC()}, {engines.Time, `""`, time.Time{}}, {engines.Time, `"tomorrow"`, bad}, {engines.Time, `{}`, bad},
	} {
		values, warnings, err := decodeOne(t, engines.Field{Type: c.kind}, c.raw)
		if c.want == bad {
			text := fmt.Sprint(err)
			if engines.KindOf(err) != engines.KindInvalid || !strings.HasPrefix(text, `field "f": expected `) {
				t.Errorf("%s as %s: %v, %v", c.raw, c.kind, values.Get("f"), err)
			}
			continue
		}
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(values.Get("f"), c.want) {
			t.Errorf("%s as %s: %#v, %v, %v, want %#v", c.raw, c.kind, values.Get("f"), warnings, err, c.want)
		}
	}
}

// TestDecodeNull gives the zero value, not the default.
func TestDecodeNull(t *testing.T) {
	t.Parallel()
	values, _, err := decodeOne(t, engines.Field{Type: engines.Int, Default: int64(5)}, "null")
	if err != nil || !values.Has("f") || values.Int("f") != 0 {
		t.Errorf("%v, %v", values, err)
	}
	if _, _, err = decodeOne(t, engines.Field{Required: true}, "null"); err == nil || err.Error() != `missing required field "f"` {
		t.Errorf("null for a required field: %v", err)
	}
}

// TestErrorsTellNoValue wants the field and the type in an error, never what
// came in.
func TestErrorsTellNoValue(t *testing.T) {
	t.Parallel()
	for kind := engines.String; kind <= engines.Time; kind++ {
		for _, raw := range []string{`"hush"`, `["hush"]`, `{"hush":{"hush":1}}`, `[{"hush":1}]`} {
			_, _, err := decodeOne(t, engines.Field{Type: kind}, raw)
			if err != nil && (strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), `"f"`)) {
				t.Errorf("%s as %s: %v", raw, kind, err)
			}
		}
	}
	_, _, err := decodeOne(t, engines.Field{Allowed: []string{"a", "b"}}, `"hush"`)
	if err == nil || err.Error() != `field "f": expected one of a, b` {
		t.Errorf("not allowed: %v", err)
	}
	if values, _, err := decodeOne(t, engines.Field{Allowed: []string{"a", "b"}}, `"b"`); err != nil || values.String("f") != "b" {
		t.Errorf("allowed: %v", err)
	}
	if values, _, err := decodeOne(t, engines.Field{Type: engines.Seconds, Signed: true}, `"-90s"`); err != nil || values.Duration("f") != -90*time.Second {
		t.Errorf("signed: %v", err)
	}
}

// sourced is a route whose fields may come from several places.
func sourced(t testing.TB) schema.Match {
	t.Helper()
	m, ok := compile(t, route("r/{name}",
		engines.Field{Name: "ttl", Type: engines.Int, Help: "ttl", Default: int64(9)},
		engines.Field{Name: "list", Type: engines.Strings, Help: "list", Query: true},
		engines.Field{Name: "old", Help: "use ttl", Deprecated: true},
		engines.Field{Name: "need", Help: "need", Required: true},
	)).Match("r/captured")
	if !ok {
		t.Fatal("no match")
	}
	return m
}

func TestDecodeSources(t *testing.T) {
	t.Parallel()
	m := sourced(t)
	for _, c := range []struct {
		op                    engines.Operation
		query, body           string
		name, ttl, list, want string // want: the error
	}{
		{engines.Read, "ttl=1&list=a,b", ``, "captured", "1", "[a b]", ""},
		{engines.Read, "list=a&list=b,c", ``, "captured", "9", "[a b,c]", ""},
		{engines.Read, "ttl=1&ttl=2", ``, "captured", "1", "[]", ""},
		{engines.Delete, "ttl=1&name=other", ``, "captured", "1", "[]", ""},
		{engines.Update, "ttl=1&list=a", `{"need":"x"}`, "captured", "9", "[a]", ""},
		{engines.Update, "list=a", `{"need":"x","list":["b"],"ttl":2}`, "captured", "2", "[b]", ""},
		{engines.Update, "need=x", `{}`, "", "", "", `missing required field "need"`},
		{engines.Create, "", ``, "", "", "", `missing required field "need"`},
		{engines.Patch, "", `{}`, "captured", "9", "[]", ""},
		{engines.Read, "ttl=x", ``, "", "", "", `field "ttl": expected an integer`},
		{engines.Read, "list=%ff", ``, "", "", "", `field "list": not valid UTF-8`},
	} {
		query, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		body, err := schema.ParseBody([]byte(c.body), schema.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		values, _, err := m.Decode(c.op, query, body)
		again, _, err2 := schema.Decode(m.Route, c.op, m.Captures, query, body)
		if fmt.Sprint(err) != fmt.Sprint(err2) || !reflect.DeepEqual(values, again) {
			t.Errorf("%+v: Decode of the package differs: %v %v", c, again, err2)
		}
		if c.want != "" {
			if err == nil || err.Error() != c.want {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		got := fmt.Sprint(values.String("name"), " ", values.Int("ttl"), " ", values.Strings("list"))
		if err != nil || got != c.name+" "+c.ttl+" "+c.list {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

func TestDecodeWarnings(t *testing.T) {
	t.Parallel()
	m := sourced(t)
	const ignored = "Endpoint ignored these unrecognized parameters: "
	many := map[string]json.RawMessage{"need": json.RawMessage(`"x"`)}
	for i := range 25 {
		many[fmt.Sprintf("k%02d", i)] = json.RawMessage("1")
	}
	for _, c := range []struct {
		body map[string]json.RawMessage
		want []string
	}{
		{map[string]json.RawMessage{"b": nil, "a": nil}, []string{ignored + "[a b]"}},
		{map[string]json.RawMessage{"name": json.RawMessage(`"x"`)}, []string{"Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [name]"}},
		{map[string]json.RawMessage{"old": json.RawMessage(`"x"`)}, []string{`Parameter "old" is deprecated: use ttl`}},
		{map[string]json.RawMessage{"x\ny": nil, strings.Repeat("é", 50): nil}, []string{ignored + "[\"x\\ny\" " + strings.Repeat("é", 32) + "]"}},
		{many, []string{ignored + "[k00 k01 k02 k03 k04 k05 k06 k07 k08 k09 k10 k11 k12 k13 k14 k15 k16 k17 k18 k19 and 5 more]"}},
	} {
		c.body["need"] = json.RawMessage(`"x"`)
		_, warnings, err := m.Decode(engines.Update, nil, c.body)
		if err != nil || !slices.Equal(warnings, c.want) {
			t.Errorf("%q, %v, want %q", warnings, err, c.want)
		}
	}
}

// TestDecodeBody gives the whole body to one field, whatever its members.
func TestDecodeBody(t *testing.T) {
	t.Parallel()
	m, _ := compile(t, route("{path...?}", engines.Field{Name: "data", Type: engines.Map, Body: true, Help: "all"},
		engines.Field{Name: "limit", Type: engines.Int, Help: "limit", Query: true})).Match("a/b")
	body, err := schema.ParseBody([]byte(`{"path":"x","limit":"many","data":1,"z":2}`), schema.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	values, warnings, err := m.Decode(engines.Update, url.Values{"limit": {"3"}}, body)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, %v", warnings, err)
	}
	if !reflect.DeepEqual(values.Map("data"), body) || values.String("path") != "a/b" || values.Int("limit") != 3 {
		t.Errorf("%v", values)
	}
}
