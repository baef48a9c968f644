package core_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// probe is an engine whose handlers count how often they, and their effects,
// are run.
type probe struct {
	runs, effects atomic.Int64
}

func (p *probe) engine() *engines.Engine {
	op := func(do engines.Operation, trait engines.Trait, h engines.Handler) []engines.Op {
		return []engines.Op{{Do: do, Trait: trait, Handler: h}}
	}
	return &engines.Engine{
		Type: "probe", Class: engines.ClassSecret, Help: "For tests.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "For tests.", Routes: []engines.Route{
				{Pattern: "effect", Help: "Has an effect.", Ops: op(engines.Update, engines.Writes, p.effect)},
				{Pattern: "read-effect", Help: "Has an effect.", Ops: op(engines.Update, engines.Reads, p.effect)},
				{Pattern: "write-effect", Help: "Has an effect.", Ops: op(engines.Update, engines.Writes, p.writeEffect)},
				{Pattern: "fail", Help: "Writes and fails.", Ops: op(engines.Update, engines.Writes, p.fail)},
				{Pattern: "sneak", Help: "Writes though it should not.", Ops: op(engines.Read, engines.Reads, p.writeEffect)},
				{Pattern: "exists", Help: "Cannot tell whether it exists.", Ops: []engines.Op{
					{Do: engines.Update, Trait: engines.Writes, Handler: p.effect, Exists: p.unsure},
				}},
				{Pattern: "stored", Help: "Reads what others wrote.", Ops: op(engines.Read, engines.Reads, p.stored)},
			}}, nil
		},
	}
}

func (p *probe) response() *engines.Response {
	p.runs.Add(1)
	return &engines.Response{Then: func(context.Context) error { p.effects.Add(1); return nil }}
}

func (p *probe) effect(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) {
	return p.response(), nil
}

func (p *probe) writeEffect(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return p.response(), tx.Put("row", []byte("x"))
}

func (p *probe) fail(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	p.runs.Add(1)
	return nil, errors.Join(tx.Put("row", []byte("x")), engines.Invalidf("no"))
}

func (p *probe) unsure(context.Context, *engines.Request, engines.Tx) (bool, error) {
	return false, engines.Invalidf("what is asked for cannot be")
}

func (p *probe) stored(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	entry, err := tx.Get("row")
	if err != nil || entry == nil {
		return nil, errors.Join(err, engines.NotFound())
	}
	return &engines.Response{Data: map[string]any{"row": string(entry.Value)}}, nil
}

func newProbe(t *testing.T) (*kit.Server, *probe) {
	t.Helper()
	p := new(probe)
	s := kit.New(t, kit.Engines(p.engine()))
	s.Mount("p", "probe", nil)
	s.Policy("p", `path "p/*" { capabilities = ["create", "read", "update"] }`)
	return s, p
}

func TestEffectsRunOnce(t *testing.T) {
	t.Parallel()
	s, p := newProbe(t)
	counted := s.Put("auth/token/create", body{"policies": "p", "num_uses": 9}).Text("auth", "client_token")
	for _, token := range []string{"", counted} {
		for _, path := range []string{"effect", "read-effect", "write-effect"} {
			p.effects.Store(0)
			s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "p/" + path, Token: token})
			if got := p.effects.Load(); got != 1 {
				t.Errorf("%s: %d effects", path, got)
			}
		}
	}
}

func TestFailedRequestsWriteNothing(t *testing.T) {
	t.Parallel()
	s, p := newProbe(t)
	counted := s.Put("auth/token/create", body{"policies": "p", "num_uses": 2}).Text("auth", "client_token")
	for _, token := range []string{"", counted, counted} {
		refused(t, s.Do(kit.Request{Method: http.MethodPut, Path: "p/fail", Token: token}), 400, "no")
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "p/stored"})
	refused(t, s.Do(kit.Request{Path: "p/stored", Token: counted}), 403, "invalid token")
	if p.effects.Load() != 0 {
		t.Error("a failed request had an effect")
	}
}

func TestReadsCannotWrite(t *testing.T) {
	t.Parallel()
	s, p := newProbe(t)
	s.Must(http.StatusInternalServerError, kit.Request{Path: "p/sneak"})
	s.Must(http.StatusNotFound, kit.Request{Path: "p/stored"})
	if p.effects.Load() != 0 {
		t.Error("an effect of what was not committed")
	}
}

// What a path would answer is told only to those who may use it.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	s, _ := newProbe(t)
	stranger := s.Login("default")
	for _, r := range []kit.Request{
		{Method: http.MethodPut, Path: "p/exists"},
		{Method: http.MethodPut, Path: "p/none"},
		{Method: http.MethodDelete, Path: "p/effect"},
		{Path: "none/x"},
		{Method: http.MethodPut, Path: "sys/mounts/p", Body: body{"type": 5, "local": "perhaps"}},
		{Path: "sys/mounts/none/tune"},
		{Path: "auth/token/roles/none"},
	} {
		r.Token = stranger
		got := s.Must(http.StatusForbidden, r)
		if text := got.Errors(); len(text) != 1 || text[0] != "1 error occurred:\n\t* permission denied\n\n" {
			t.Errorf("%s %s: %q", r.Method, r.Path, text)
		}
		r.Token = kit.NoToken
		refused(t, s.Do(r), 400, "missing client token")
	}
	s.Policy("half", `path "p/*" { capabilities = ["update"] }`)
	refused(t, s.Do(kit.Request{Method: http.MethodPut, Path: "p/exists", Token: s.Login("half")}), 400, "cannot be")
	refused(t, s.Do(kit.Request{Path: "none/x"}), 404, "no handler for route")
	refused(t, s.Do(kit.Request{Method: http.MethodDelete, Path: "p/effect"}), 405, "unsupported operation")
}

// A policy holds for the very next request, and is gone with the next.
func TestPoliciesHoldAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := newProbe(t)
	token := s.Login("p", "later")
	status := func() int { return s.Do(kit.Request{Method: http.MethodPut, Path: "p/effect", Token: token}).Status }
	if got := status(); got != http.StatusNoContent {
		t.Errorf("allowed: %d", got)
	}
	s.Policy("later", `path "p/effect" { capabilities = ["deny"] }`)
	if got := status(); got != http.StatusForbidden {
		t.Errorf("denied: %d", got)
	}
	s.Delete("sys/policies/acl/later")
	if got := status(); got != http.StatusNoContent {
		t.Errorf("allowed again: %d", got)
	}
}
