package core_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// slow is an engine whose writes rest on work ahead.
type slow struct {
	works, runs, stale, refuse atomic.Int64
	// during runs in the course of the work.
	during func()
}

func (e *slow) engine() *engines.Engine {
	return &engines.Engine{
		Type: "slow", Class: engines.ClassSecret, Help: "For tests.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "For tests.", Routes: []engines.Route{{
				Pattern: "x", Help: "Takes work.",
				Ops: []engines.Op{
					{Do: engines.Update, Trait: engines.Writes, Handler: e.handle, Ahead: e.ahead},
					{Do: engines.Read, Handler: e.handle, Ahead: e.ahead},
				},
			}}}, nil
		},
	}
}

func (e *slow) ahead(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	if _, err := tx.Get("row"); err != nil {
		return nil, err
	}
	return func(context.Context) (any, error) {
		e.works.Add(1)
		if e.during != nil {
			e.during()
		}
		if e.refuse.Load() > 0 {
			return nil, engines.Errorf(engines.KindUpstream, "nobody answers")
		}
		return "worked for " + req.ID, nil
	}, nil
}

func (e *slow) handle(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	e.runs.Add(1)
	if req.Ahead != "worked for "+req.ID {
		return nil, engines.Errorf(engines.KindInternal, "no work was done")
	}
	if e.stale.Add(-1) >= 0 {
		return nil, engines.ErrStale
	}
	if req.Op == engines.Read {
		return nil, nil
	}
	return nil, tx.Put("row", []byte("x"))
}

func TestWorkAhead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method string
		stale  int64
		refuse int64
		works  int64
		want   int
		left   json.Number
	}{
		"a write":             {method: http.MethodPut, works: 1, want: http.StatusNoContent, left: "1"},
		"a read":              {method: http.MethodGet, works: 1, want: http.StatusNoContent, left: "1"},
		"out of date once":    {method: http.MethodPut, stale: 1, works: 2, want: http.StatusNoContent, left: "1"},
		"out of date forever": {method: http.MethodPut, stale: 99, works: 4, want: http.StatusConflict, left: "2"},
		"in vain":             {method: http.MethodPut, refuse: 1, works: 1, want: http.StatusBadGateway, left: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := new(slow)
			s := kit.New(t, kit.Engines(e.engine()))
			s.Mount("p", "slow", nil)
			s.Policy("p", `path "p/*" { capabilities = ["read", "update"] }`)
			uses := s.Put("auth/token/create", body{"policies": "p", "num_uses": 2})
			e.stale.Store(c.stale)
			e.refuse.Store(c.refuse)
			// Others may write meanwhile: nothing is held while the work is done.
			e.during = func() { s.Policy("other", `path "x" { capabilities = ["read"] }`) }
			s.Must(c.want, kit.Request{Method: c.method, Path: "p/x", Token: uses.Text("auth", "client_token")})
			if got := e.works.Load(); got != c.works {
				t.Errorf("the work was done %d times, want %d", got, c.works)
			}
			look := s.Put("auth/token/lookup-accessor", body{"accessor": uses.Text("auth", "accessor")})
			if got := look.At("data", "num_uses"); got != c.left {
				t.Errorf("%v uses are left, want %s", got, c.left)
			}
		})
	}
}
