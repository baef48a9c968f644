package check_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/check"
	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

func op(work, kind, value string, call, end int64, outcome history.Outcome) history.Op {
	return history.Op{Work: work, Kind: kind, Key: "k", Value: value, Call: call, Return: end, Outcome: outcome}
}

func versions(o history.Op, expected, version int64) history.Op {
	o.Expected, o.Version = expected, version
	return o
}

func lists(call, end int64, elements ...string) history.Op {
	o := op("set", "list", "", call, end, history.Done)
	o.List = elements
	return o
}

func index(o history.Op, index uint64) history.Op {
	o.Index = index
	return o
}

const second = int64(time.Second)

func issued(user string, call, end, ttl int64) history.Op {
	return versions(op("database", "issue", user, call, end, history.Done), ttl, 0)
}

func entered(user string, call, end int64, outcome history.Outcome) history.Op {
	return op("database", "enter", user, call, end, outcome)
}

func users(kind string, call int64, names ...string) history.Op {
	o := op("database", kind, "", call, call+1, history.Done)
	o.List = names
	return o
}

// TestRules has a history for each rule, with and without what breaks it.
func TestRules(t *testing.T) {
	t.Parallel()
	const done, refused, failed, unknown = history.Done, history.Refused, history.Failed, history.Unknown
	for name, c := range map[string]struct {
		ops  []history.Op
		want []string
	}{
		"a register": {[]history.Op{
			versions(op("register", "write", "a", 1, 2, done), 0, 1), versions(op("register", "cas", "b", 3, 4, done), 1, 2),
			versions(op("register", "cas", "c", 5, 6, refused), 1, 0), versions(op("register", "read", "b", 7, 8, done), 0, 2),
			versions(op("register", "metadata", "", 9, 10, done), 0, 2),
		}, nil},
		"a write in doubt happens late":  {[]history.Op{op("register", "write", "a", 1, 2, unknown), op("register", "read", "", 3, 4, done), op("register", "read", "a", 5, 6, done)}, nil},
		"a write in doubt never happens": {[]history.Op{op("register", "write", "a", 1, 2, unknown), op("register", "read", "", 3, 4, done)}, nil},
		"a stale read":                   {[]history.Op{op("register", "write", "a", 1, 2, done), op("register", "read", "", 3, 4, done)}, []string{"not linearizable"}},
		"a torn read": {[]history.Op{
			op("transaction", "write", "a", 1, 2, done), op("transaction", "read", "torn: a v1, b v1", 3, 4, done),
		}, []string{"not linearizable"}},
		"a failed write is read": {[]history.Op{op("register", "write", "a", 1, 2, failed), op("register", "read", "a", 3, 4, done)}, []string{"not linearizable"}},
		"a write is done twice": {[]history.Op{
			versions(op("register", "write", "a", 1, 2, done), 0, 1), versions(op("register", "read", "a", 3, 4, done), 0, 2),
		}, []string{"not linearizable"}},
		"two histories": {[]history.Op{
			op("register", "write", "a", 1, 9, done), op("register", "read", "a", 2, 3, done), op("register", "read", "", 4, 5, done),
		}, []string{"not linearizable"}},
		"two swaps of one version": {[]history.Op{
			versions(op("register", "cas", "a", 1, 9, done), 0, 1), versions(op("register", "cas", "b", 2, 8, done), 0, 1),
		}, []string{"not linearizable"}},
		"rows of one write apart": {[]history.Op{
			versions(op("register", "write", "a", 1, 9, done), 0, 1), versions(op("register", "metadata", "", 2, 3, done), 0, 1), op("register", "read", "", 4, 5, done),
		}, []string{"not linearizable"}},
		"a policy": {[]history.Op{op("policy", "write", "deny", 1, 2, done), op("policy", "read", "allow", 3, 4, done)}, []string{"not linearizable"}},
		"a set": {[]history.Op{
			op("set", "add", "a", 1, 2, done), op("set", "add", "b", 1, 2, unknown), op("set", "add", "c", 1, 2, done), op("set", "remove", "c", 3, 6, done),
			lists(4, 5, "a", "c"), lists(7, 8, "a", "b"),
		}, nil},
		"an element in doubt comes late":  {[]history.Op{op("set", "add", "a", 1, 2, unknown), op("set", "remove", "a", 3, 4, done), lists(5, 6, "a")}, nil},
		"an element is lost":              {[]history.Op{op("set", "add", "a", 1, 2, done), lists(3, 4)}, []string{"lost"}},
		"an element comes back":           {[]history.Op{op("set", "add", "a", 1, 2, done), op("set", "remove", "a", 3, 4, done), lists(5, 6, "a")}, []string{"came back"}},
		"an element that failed is there": {[]history.Op{op("set", "add", "a", 1, 2, failed), lists(5, 6, "a")}, []string{"came from nowhere"}},
		"a tree": {[]history.Op{
			op("token", "use", "a", 1, 2, done), op("token", "revoke", "", 3, 6, done), op("token", "use", "a", 4, 5, refused), op("token", "use", "a", 7, 8, refused),
		}, nil},
		"a tree that lives on":   {[]history.Op{op("token", "revoke", "", 1, 2, done), op("token", "use", "a", 3, 4, done)}, []string{"used after it was revoked"}},
		"a tree that dies early": {[]history.Op{op("token", "use", "a", 1, 2, refused), op("token", "revoke", "", 3, 4, done)}, []string{"refused before it was revoked"}},
		"once":                   {[]history.Op{versions(op("once", "use", "", 1, 4, done), 1, 0), versions(op("once", "use", "", 2, 3, refused), 1, 0)}, nil},
		"once, perhaps":          {[]history.Op{versions(op("once", "use", "", 1, 4, unknown), 1, 0), versions(op("once", "use", "", 2, 3, refused), 1, 0)}, nil},
		"once is twice":          {[]history.Op{versions(op("once", "use", "", 1, 4, done), 1, 0), versions(op("once", "use", "", 2, 3, done), 1, 0)}, []string{"used too often"}},
		"once is never":          {[]history.Op{versions(op("once", "use", "", 1, 4, failed), 1, 0), versions(op("once", "use", "", 2, 3, refused), 1, 0)}, []string{"refused too early"}},
		"a user": {[]history.Op{
			issued("u", 0, 1, 10), entered("u", 2, 3, done), op("database", "renew", "u", 4, 5, refused), entered("u", 12*second, 12*second+1, refused),
			entered("u", 30*second, 31*second, done), users("settled", 40*second), users("leased", 40*second),
		}, nil},
		"a user that is renewed": {[]history.Op{issued("u", 0, 1, 10), versions(op("database", "renew", "u", 4, 5, done), 20, 0), entered("u", 12*second, 12*second+1, refused)}, []string{"a user ended early"}},
		"a user that is renewed for less": {[]history.Op{
			issued("u", 0, 1, 10), versions(op("database", "renew", "u", 4, 5, done), 3, 0), entered("u", 5*second, 5*second+1, refused),
			versions(op("database", "renew", "u", 6*second, 6*second+1, unknown), 2, 0), versions(op("database", "renew", "u", 7*second, 7*second+1, done), 9, 0),
			entered("u", 9*second, 9*second+1, refused),
		}, nil},
		"a user that is renewed again": {[]history.Op{
			issued("u", 0, 1, 10), versions(op("database", "renew", "u", 4, 5, done), 3, 0), versions(op("database", "renew", "u", 6, 7, done), 9, 0), entered("u", 5*second, 5*second+1, refused),
		}, []string{"a user ended early"}},
		"a user that is released":        {[]history.Op{issued("u", 0, 1, 10), op("database", "revoke", "u", 2, 9, failed), entered("u", 3, 4, refused), entered("u", 10, 11, done)}, nil},
		"users that are released":        {[]history.Op{issued("u", 0, 1, 10), op("database", "revoke-prefix", "", 2, 9, done), entered("u", 3, 4, refused)}, nil},
		"a user that ends early":         {[]history.Op{issued("u", 0, 1, 10), entered("u", 2, 3, refused)}, []string{"a user ended early"}},
		"a user that is not asked for":   {[]history.Op{issued("u", 0, 1, 100), users("settled", 2), users("leased", 2)}, []string{"a user ended early"}},
		"a user that does not end":       {[]history.Op{issued("u", 0, 1, 10), entered("u", 40*second, 41*second, done)}, []string{"a user outlived its lease"}},
		"a user that may be renewed":     {[]history.Op{issued("u", 0, 1, 10), op("database", "renew", "u", 2, 3, unknown), entered("u", 40*second, 41*second, done)}, nil},
		"a user that is said to be gone": {[]history.Op{issued("u", 0, 1, 10), op("database", "revoke-sync", "u", 2, 3, done), entered("u", 4, 5, done)}, []string{"a user outlived its revocation"}},
		"a user without a lease":         {[]history.Op{users("settled", 2, "u"), users("leased", 2)}, []string{"a user without a lease"}},
		"a lease without a user":         {[]history.Op{users("settled", 2), users("leased", 2, "u")}, []string{"a lease without a user"}},
		"indexes":                        {[]history.Op{index(op("x", "read", "", 1, 3, done), 7), index(op("x", "read", "", 2, 5, done), 6), index(op("x", "read", "", 4, 5, done), 7)}, nil},
		"indexes that go back":           {[]history.Op{index(op("x", "read", "", 1, 2, done), 7), index(op("x", "read", "", 3, 4, done), 6)}, []string{"an index went back"}},
		"nothing has happened":           {nil, nil},
		"work without any checks":        {[]history.Op{op("x", "read", "", 1, 2, done)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, v := range check.History(c.ops) {
				got = append(got, v.Rule)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestSaved has a saved history read as it was.
func TestSaved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	r, err := history.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []history.Op{op("register", "write", "a", 1, 2, history.Done), lists(3, 4, "x", "y")} {
		r.Add(o)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := history.Load(path)
	if err != nil || len(got) != 2 || got[0].Value != "a" || !slices.Equal(got[1].List, []string{"x", "y"}) {
		t.Errorf("%v, %v", got, err)
	}
}
