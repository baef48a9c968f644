package policy_test

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/policy"
)

// table asks one ACL after the other: allow("read", "kv/a").
type table struct {
	t *testing.T
	*policy.ACL
}

// given compiles policies, each by its text.
func given(t *testing.T, texts ...string) table {
	t.Helper()
	return table{t, policy.Compile(parse(t, texts...), nil)}
}

// filled compiles one policy whose templates have these values.
func filled(t *testing.T, text string, values map[string]string) table {
	t.Helper()
	return table{t, policy.Compile(parse(t, text), func(expr string) (string, bool) {
		value, ok := values[expr]
		return value, ok
	})}
}

func parse(t testing.TB, texts ...string) []*policy.Policy {
	t.Helper()
	var list []*policy.Policy
	for i, text := range texts {
		p, err := policy.Parse(string(rune('a'+i)), text)
		if err != nil {
			t.Fatalf("parse %s: %v", text, err)
		}
		list = append(list, p)
	}
	return list
}

var operations = map[string]policy.Capability{
	"create": policy.Create, "read": policy.Read, "update": policy.Update, "delete": policy.Delete,
	"list": policy.List, "scan": policy.Scan, "patch": policy.Patch,
}

// with changes a request before it is decided on.
type with func(r *policy.Request)

func body(text string) with {
	return func(r *policy.Request) {
		if err := json.Unmarshal([]byte(text), &r.Parameters); err != nil {
			panic(err)
		}
	}
}

func query(text string) with {
	return func(r *policy.Request) {
		values, err := url.ParseQuery(text)
		if err != nil {
			panic(err)
		}
		r.Query = values
	}
}

func wrapped(ttl time.Duration) with { return func(r *policy.Request) { r.WrapTTL = ttl } }

func request(op, path string, list []with) *policy.Request {
	r := &policy.Request{Path: path, Op: operations[op]}
	for _, change := range list {
		change(r)
	}
	return r
}

func (a table) allow(op, path string, list ...with) {
	a.t.Helper()
	d := a.Allow(request(op, path, list))
	if !d.Allowed {
		a.t.Errorf("%s %q is denied (%s), want allowed", op, path, d.Reason)
	}
	if d.Reason != "" && d.Allowed {
		a.t.Errorf("%s %q is allowed with a reason: %s", op, path, d.Reason)
	}
}

func (a table) deny(op, path string, list ...with) {
	a.t.Helper()
	d := a.Allow(request(op, path, list))
	if d.Allowed {
		a.t.Errorf("%s %q is allowed by %q, want denied", op, path, d.Rule.Path())
	}
	if d.Reason == "" {
		a.t.Errorf("%s %q is denied without a reason", op, path)
	}
}
