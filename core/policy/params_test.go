package policy_test

import "testing"

func TestAllowedParameters(t *testing.T) {
	a := given(t, `path "a" {
  capabilities = ["create", "update", "read", "patch", "delete", "list"]
  allowed_parameters = { "Any" = [] "n" = [3, 1.5, true] "text" = ["one", "pre*", "*suf", "*mid*"] }
}`)
	for _, ok := range []string{
		`{}`, `{"any": {"deep": []}}`, `{"ANY": 1}`, `{"n": 3}`, `{"n": 3.0}`, `{"n": 1.5}`, `{"n": true}`,
		`{"text": "one"}`, `{"text": "prefix"}`, `{"text": "a suf"}`, `{"text": "a mid b"}`, `{"text": "mid"}`, `{"any": null, "n": 3, "text": "one"}`,
	} {
		a.allow("update", "a", body(ok))
	}
	for _, bad := range []string{
		`{"other": 1}`, `{"n": 4}`, `{"n": "3"}`, `{"n": [3]}`, `{"n": null}`, `{"n": false}`, `{"text": "One"}`, `{"text": "on"}`,
		`{"text": ["one"]}`, `{"text": 1}`, `{"text": "sufx"}`, `{"any": 1, "other": 2}`, `{"any": 1, "ANY": 2}`, `{"": 1}`,
	} {
		a.deny("update", "a", body(bad))
		a.deny("create", "a", body(bad))
		a.deny("patch", "a", body(bad))
		a.deny("read", "a", body(bad))
		a.allow("delete", "a", body(bad)) // as in Vault, these take none
	}
	star := given(t, `path "a" { capabilities = ["update"] allowed_parameters = { "*" = [] "n" = [1] } }`)
	star.allow("update", "a", body(`{"other": 1}`))
	star.allow("update", "a", body(`{"n": 1, "other": 1}`))
	star.deny("update", "a", body(`{"n": 2}`))
}

func TestDeniedParameters(t *testing.T) {
	a := given(t, `path "a" {
  capabilities = ["update"]
  denied_parameters = { "any" = [] "n" = [3, true] "policies" = ["root", "adm*"] }
}`)
	for _, ok := range []string{
		`{}`, `{"other": 1}`, `{"n": 4}`, `{"n": "33"}`, `{"policies": "Root"}`, `{"policies": ["rooted", "x"]}`, `{"policies": null}`, `{"policies": {"root": 1}}`,
	} {
		a.allow("update", "a", body(ok))
	}
	for _, bad := range []string{
		`{"any": null}`, `{"Any": 1}`, `{"aNY": ""}`, `{"n": 3}`, `{"n": 3.0}`, `{"n": 3e0}`, `{"n": "3"}`, `{"n": true}`, `{"n": "true"}`,
		`{"policies": "root"}`, `{"POLICIES": "admin"}`, `{"policies": ["x", "root"]}`, `{"policies": [["root"]]}`, `{"policies": "x,root"}`,
		`{"policies": "x, root"}`, `{"policies": ["x,root"]}`, `{"x": 1, "X": 2}`, `{"other": 1, "any": 1}`,
	} {
		a.deny("update", "a", body(bad))
	}
	given(t, `path "a" { capabilities = ["update"] denied_parameters = { "*" = [] } }`).deny("update", "a", body(`{"x": 1}`))
	given(t, `path "a" { capabilities = ["update"] denied_parameters = { "*" = [] } }`).allow("update", "a", body(`{}`))
	both := given(t, `path "a" { capabilities = ["update"] allowed_parameters = { "*" = [] } denied_parameters = { "x" = [1] } }`)
	both.deny("update", "a", body(`{"x": 1}`))
	both.allow("update", "a", body(`{"x": 2}`))
}

func TestRequiredParameters(t *testing.T) {
	a := given(t, `path "a" { capabilities = ["update", "read", "list"] required_parameters = ["One", "two"] }`)
	a.allow("update", "a", body(`{"one": null, "TWO": 2, "three": 3}`))
	a.allow("list", "a")
	for _, bad := range []string{`{}`, `{"one": 1}`, `{"two": 1}`, `{"one": 1, "ONE": 2}`} {
		a.deny("update", "a", body(bad))
		a.deny("read", "a", body(bad))
	}
}

func TestQueryParameters(t *testing.T) {
	a := given(t, `path "a" { capabilities = ["read", "update"] allowed_parameters = { "version" = ["1"] "x" = ["ok"] } denied_parameters = { "p" = ["root"] } }`)
	a.allow("read", "a")
	a.allow("read", "a", query("version=1"))
	a.allow("read", "a", query("version=1&help=1&list=false&scan="))
	a.allow("update", "a", body(`{"x": "ok"}`), query("version=1"))
	for _, bad := range []string{
		"version=2", "VERSION=2", "other=1", "version", "version=1&version=2", "version=1&Version=1", "version=1&version=1",
		"p=root", "p=x&p=root", "p=x,root",
	} {
		a.deny("read", "a", query(bad))
	}
	// What stands in both places is ambiguous.
	a.deny("update", "a", body(`{"x": "ok"}`), query("x=bad"))
	a.deny("update", "a", body(`{"x": "ok"}`), query("X=ok"))
	given(t, `path "a" { capabilities = ["read"] required_parameters = ["v"] }`).allow("read", "a", query("v=1"))
	denied := given(t, `path "a" { capabilities = ["read"] denied_parameters = { "p" = ["root"] } }`)
	denied.deny("read", "a", query("p=x&p=root"))
	denied.allow("read", "a", query("p=x&p=y"))
}

// Parameters of merged rules add up; no values stay any value.
func TestMergedParameters(t *testing.T) {
	allowed := func(list string) string {
		return `path "a" { capabilities = ["update"] allowed_parameters = ` + list + ` }`
	}
	a := given(t, allowed(`{ "x" = [1] }`), allowed(`{ "x" = [2] "y" = [] }`))
	a.allow("update", "a", body(`{"x": 1, "y": 0}`))
	a.allow("update", "a", body(`{"x": 2}`))
	a.deny("update", "a", body(`{"x": 3}`))
	a.deny("update", "a", body(`{"z": 3}`))
	for _, texts := range [][]string{{allowed(`{ "x" = [1] }`), allowed(`{ "x" = [] }`)}, {allowed(`{ "x" = [] }`), allowed(`{ "x" = [1] }`)}} {
		given(t, texts...).allow("update", "a", body(`{"x": 3}`))
	}
	denied := func(list string) string {
		return `path "a" { capabilities = ["update"] denied_parameters = ` + list + ` }`
	}
	a = given(t, denied(`{ "x" = [1] }`), denied(`{ "x" = [2] }`), `path "a" { capabilities = ["update"] required_parameters = ["q"] }`)
	a.deny("update", "a", body(`{"q": 0, "x": 1}`))
	a.deny("update", "a", body(`{"q": 0, "x": 2}`))
	a.deny("update", "a", body(`{"x": 3}`))
	a.allow("update", "a", body(`{"q": 0, "x": 3}`))
	// Compiling does not change the policies that it merges.
	list := parse(t, allowed(`{ "x" = [1] }`), allowed(`{ "x" = [2] }`))
	table{t, compile(list...)}.allow("update", "a", body(`{"x": 2}`))
	table{t, compile(list[0])}.deny("update", "a", body(`{"x": 2}`))
}
