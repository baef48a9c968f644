package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// faulty is an engine whose paths fail in every way there is.
func faulty() *engines.Engine {
	handler := func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		if err := tx.Put("touched", []byte("x")); req.Op != engines.Read && err != nil {
			return nil, err
		}
		switch how := req.Fields.String("how"); how {
		case "panic":
			panic("panic with " + canary)
		case "plain":
			return nil, fmt.Errorf("plain error with %s", canary)
		case "nothing":
			return &engines.Response{}, nil
		case "kind":
			kind := engines.Kind(req.Fields.Int("kind"))
			return nil, &engines.Error{Kind: kind, Message: "a message", Cause: errors.New("cause with " + canary)}
		}
		return nil, engines.NotFound()
	}
	return &engines.Engine{Type: "faulty", Class: engines.ClassSecret, Table: func(engines.Mount) (*engines.Table, error) {
		return &engines.Table{Routes: []engines.Route{{
			Pattern: "{how}", Help: "Fail.",
			Fields: []engines.Field{{Name: "how", Help: "How."}, {Name: "kind", Type: engines.Int, Query: true, Help: "With which kind."}},
			Ops: []engines.Op{
				{Do: engines.Read, Trait: engines.Writes, Handler: handler},
				{Do: engines.Update, Trait: engines.Writes, Handler: handler},
			},
		}}}, nil
	}}
}

// Every kind of error has its status; what comes after the last is a 500.
func TestStatusOfKinds(t *testing.T) {
	t.Parallel()
	n := serving(t, kit.Engines(faulty()))
	n.Mount("faulty", "faulty", nil)
	want := map[engines.Kind]int{
		engines.KindInternal: 500, engines.KindInvalid: 400, engines.KindUnauthorized: 403, engines.KindDenied: 403,
		engines.KindNotFound: 404, engines.KindMethod: 405, engines.KindConflict: 409, engines.KindPrecondition: 412,
		engines.KindTooLarge: 413, engines.KindRateLimited: 429, engines.KindUpstream: 502, engines.KindUnavailable: 503,
		engines.KindNotInitialized: 501, engines.KindUnknownOutcome: 504,
	}
	if len(want) != int(engines.KindUnknownOutcome)+1 {
		t.Errorf("the table has %d kinds, there are %d", len(want), engines.KindUnknownOutcome+1)
	}
	want[engines.KindUnknownOutcome+1] = 500
	for kind, status := range want {
		n.untouched(t, fmt.Sprint("kind ", kind), func() {
			r := n.Must(status, kit.Request{Method: "PUT", Path: fmt.Sprintf("faulty/kind?kind=%d", kind)})
			if len(r.Errors()) != 1 || !strings.Contains(r.Errors()[0], "a message") {
				t.Errorf("kind %d: %s", kind, r.Raw)
			}
			if strings.Contains(string(r.Raw), canary) {
				t.Errorf("kind %d shows its cause: %s", kind, r.Raw)
			}
			if got := r.Header.Get("Retry-After"); (got != "") != (status == 503) {
				t.Errorf("kind %d: Retry-After %q", kind, got)
			}
			if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("kind %d: headers %v", kind, r.Header)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	n := serving(t, kit.Engines(faulty()))
	n.Mount("faulty", "faulty", nil)
	for _, method := range []string{"GET", "PUT"} {
		n.untouched(t, "a panic", func() {
			r := n.Must(500, kit.Request{Method: method, Path: "faulty/panic"})
			says(t, "a panic", r, "internal error")
		})
	}
	r := n.Must(500, kit.Request{Path: "faulty/plain"})
	says(t, "an unknown error", r, "internal error")
	if log := n.Log(); !strings.Contains(log, "a request panicked") || strings.Contains(log, "panic with "+canary) {
		t.Error("a panic is not logged, or with its value")
	}
	n.Must(204, kit.Request{Method: "PUT", Path: "faulty/nothing"}) // the node goes on
}

// The texts that clients look for.
func TestTexts(t *testing.T) {
	t.Parallel()
	n := serving(t)
	n.Put("kv/config", map[string]any{"cas_required": false})
	for _, c := range []struct {
		what   string
		r      kit.Request
		status int
		says   string
	}{
		{"no token", kit.Request{Path: "kv/data/pub/x", Token: kit.NoToken}, 400, "missing client token"},
		{"an unknown token", kit.Request{Path: "kv/data/pub/x", Token: "cfs.unknown"}, 403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"},
		{"a malformed batch token", kit.Request{Path: "kv/data/pub/x", Token: "cfb.!"}, 403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"},
		{"a forbidden path", kit.Request{Path: "kv/data/hidden/x", Token: n.app}, 403, "1 error occurred:\n\t* permission denied\n\n"},
		{"a forbidden mount", kit.Request{Path: "nowhere/x", Token: n.app}, 403, "1 error occurred:\n\t* permission denied\n\n"},
		{"an unknown mount", kit.Request{Path: "nowhere/x"}, 404, `no handler for route "nowhere/x". route entry not found.`},
		{"nothing stored", kit.Request{Path: "kv/data/none"}, 404, ""},
		{"CAS", kit.Request{Method: "PUT", Path: "kv/data/pub/x", Body: `{"data": {}, "options": {"cas": 7}}`}, 400, "check-and-set parameter did not match the current version"},
		{"an unsupported operation", kit.Request{Method: "PATCH", Path: "old/x", Body: `{"a": 1}`}, 405, "unsupported operation"},
		{"an unknown method", kit.Request{Method: "TRACE", Path: "kv/data/pub/x"}, 405, "method TRACE is not allowed"},
		{"a wrong method on a system path", kit.Request{Method: "DELETE", Path: "sys/health"}, 405, "method DELETE is not allowed here"},
		{"not JSON", kit.Request{Method: "PUT", Path: "kv/data/pub/x", Body: `{data`}, 400, "..."},
		{"not an object", kit.Request{Method: "PUT", Path: "kv/data/pub/x", Body: `[]`}, 400, "the request body must be a JSON object"},
		{"a wrong type", kit.Request{Method: "PUT", Path: "kv/data/pub/x", Body: `{"data": 1}`}, 400, `field "data": expected an object`},
		{"a wrong query", kit.Request{Path: "kv/data/pub/x?version=a"}, 400, `field "version": expected an integer`},
		{"a malformed query", kit.Request{Path: "kv/data/pub/x?version=%zz"}, 400, "the query string is malformed"},
		{"initialised already", kit.Request{Method: "PUT", Path: "sys/init", Body: `{"secret_shares": 1, "secret_threshold": 1}`}, 400, "Vault is already initialized"},
	} {
		n.untouched(t, c.what, func() { says(t, c.what, n.Must(c.status, c.r), c.says) })
	}
	// No API outside /v1/.
	for _, target := range []string{"/", "/v1", "/v2/sys/health", "/V1/sys/health", "/sys/health"} {
		if r := wire(t, n.Server, line("GET", target, n.Root)); r.Status != 404 {
			t.Errorf("%s: %d", target, r.Status)
		}
	}
}

func TestNotServing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		option kit.Option
		says   string
	}{{"sealed", kit.Sealed(), "Vault is sealed"}, {"uninitialized", kit.Uninitialized(), "Coffer is not initialized"}} {
		s := kit.New(t, c.option)
		for _, r := range []kit.Request{
			{Path: "kv/data/x"}, {Path: "sys/mounts"}, {Method: "PUT", Path: "kv/data/x", Body: `{"data": {}}`}, {Method: "LIST", Path: "sys/policies/acl"},
			{Path: "auth/token/lookup-self"}, {Method: "PUT", Path: "sys/seal"},
		} {
			r.Token = "any"
			says(t, c.name+" "+r.Path, s.Must(http.StatusServiceUnavailable, r), c.says)
		}
	}
	s := kit.New(t, kit.Sealed())
	says(t, "a bad key", s.Must(400, kit.Request{Method: "PUT", Path: "sys/unseal", Body: `{"key": "zz"}`}), "'key' must be a valid hex or base64 string")
	says(t, "no key", s.Must(400, kit.Request{Method: "PUT", Path: "sys/unseal", Body: `{}`}), "'key' must be specified in request body as JSON, or 'reset' set to true")
	u := kit.New(t, kit.Uninitialized())
	for body, want := range map[string]string{
		`{"secret_shares": 0, "secret_threshold": 0}`: "invalid seal configuration: ...", `{"secret_shares": 3, "secret_threshold": 4}`: "invalid seal configuration: ...",
		`{"secret_shares": 256, "secret_threshold": 4}`: "invalid seal configuration: ...", `{"secret_shares": -1, "secret_threshold": -1}`: "invalid seal configuration: ...",
		`{"secret_shares": "many"}`: `field "secret_shares": expected an integer`, `{"secret_shares": 1, "secret_threshold": 1, "recovery_shares": 1}`: "parameters recovery_shares...",
		`{"secret_shares": 2, "secret_threshold": 2, "pgp_keys": ["x"]}`: "incorrect number of PGP keys: 1 for 2 shares",
	} {
		says(t, body, u.Must(400, kit.Request{Method: "PUT", Path: "sys/init", Body: body}), want)
	}
	if u.Get("sys/init").At("initialized") != false {
		t.Error("a refused request initialised the node")
	}
}
