package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

// maxAttempts is how often Do runs a handler that loses to other writers.
const maxAttempts = 10

// Harness is one mount of an engine. Its exported fields may be set between
// calls. Not safe for concurrent use.
type Harness struct {
	// Now is the time that handlers are told.
	Now time.Time
	// Caller is who asks.
	Caller engines.Caller
	// Info is what the engine is told of its mount.
	Info engines.Mount
	// Store holds the mount's rows.
	Store *Store
	// Random says that answers and writes differ from run to run.
	Random bool
	// Once runs each handler only once, for benchmarks.
	Once bool
	// Interleave, if set, runs once between the next handler and its commit.
	Interleave func()

	t        testing.TB
	engine   *engines.Engine
	compiled *schema.Compiled
}

// Mount mounts an engine with options at "test/".
func Mount(t testing.TB, e *engines.Engine, options map[string]string) *Harness {
	t.Helper()
	h := &Harness{
		Now:    time.Date(2025, 1, 2, 3, 4, 5, 678900000, time.UTC),
		Caller: engines.Caller{TokenKey: "token-1", Accessor: "accessor-1", DisplayName: "tester"},
		Info: engines.Mount{
			Path: "test/", Type: e.Type, UUID: "uuid-1", Accessor: e.Type + "_1", Options: options,
			DefaultTTL: 768 * time.Hour, MaxTTL: 768 * time.Hour,
		},
		Store: NewStore(), t: t, engine: e,
	}
	h.compile()
	if e.Mounted != nil {
		h.transact(func(tx *Tx) error { return e.Mounted(t.Context(), h.Info, tx) })
	}
	return h
}

func (h *Harness) compile() {
	h.t.Helper()
	table, err := h.engine.Table(h.Info)
	if err != nil {
		h.t.Fatalf("table: %v", err)
	}
	if h.compiled, err = schema.Compile(table); err != nil {
		h.t.Fatalf("compile: %v", err)
	}
}

func (h *Harness) transact(fn func(tx *Tx) error) {
	h.t.Helper()
	tx := h.Store.Begin()
	if err := errors.Join(fn(tx), tx.Commit()); err != nil {
		h.t.Fatalf("transaction: %v", err)
	}
}

// Tune changes the mount's options, unless the engine refuses.
func (h *Harness) Tune(options map[string]string) error {
	h.t.Helper()
	changed := h.Info
	changed.Options = options
	tx := h.Store.Begin()
	if h.engine.Tuned != nil {
		if err := h.engine.Tuned(h.t.Context(), h.Info, changed, tx); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	h.Info = changed
	h.compile()
	return nil
}

// Compiled returns the mount's routes.
func (h *Harness) Compiled() *schema.Compiled { return h.compiled }

// Do asks the mount for one operation. The body is JSON text (string, []byte
// or json.RawMessage), nil, or a value to be encoded. An Update becomes a
// Create if the operation's Exists says so. The answer carries the warnings of
// decoding before its own; a path or operation that is not offered is an error
// of KindNotFound or KindMethod.
func (h *Harness) Do(op engines.Operation, path string, body any, query url.Values) (*engines.Response, error) {
	h.t.Helper()
	match, ok := h.compiled.Match(path)
	if !ok {
		return nil, engines.NotFound()
	}
	offered, ok := match.Op(op)
	if !ok {
		return nil, engines.Errorf(engines.KindMethod, "unsupported operation")
	}
	members, err := schema.ParseBody(h.bodyText(body), schema.Limits{})
	if err != nil {
		return nil, err
	}
	fields, warnings, err := match.Decode(op, query, members)
	if err != nil {
		return nil, err
	}
	req := &engines.Request{
		ID: "request-1", Op: op, Path: path, Fields: fields, Mount: h.Info, Caller: h.Caller, Now: h.Now,
	}
	resp, err := h.commit(offered, req)
	if len(warnings) > 0 && err == nil {
		answer := engines.Response{}
		if resp != nil {
			answer = *resp
		}
		answer.Warnings = append(warnings, answer.Warnings...)
		resp = &answer
	}
	return resp, err
}

func (h *Harness) bodyText(body any) []byte {
	h.t.Helper()
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return []byte(b)
	case []byte:
		return b
	case json.RawMessage:
		return b
	}
	text, err := json.Marshal(body)
	if err != nil {
		h.t.Fatalf("body: %v", err)
	}
	return text
}

// commit runs an operation and commits it, again if it lost a race.
func (h *Harness) commit(op *engines.Op, req *engines.Request) (*engines.Response, error) {
	h.t.Helper()
	asked := req.Op
	for range maxAttempts {
		tx := h.Store.Begin()
		req.Op = asked
		if op.Exists != nil && asked == engines.Update {
			exists, err := op.Exists(h.t.Context(), req, tx)
			if err != nil {
				return nil, err
			}
			if !exists {
				req.Op = engines.Create
			}
		}
		if err := h.ahead(op, req, tx); err != nil {
			return nil, err
		}
		resp, err := op.Handler(h.t.Context(), req, tx)
		if !h.Once {
			h.checkAgain(op, req, tx, resp, err)
		}
		if errors.Is(err, engines.ErrStale) {
			continue
		}
		if err != nil && !engines.Keeps(err) {
			return nil, err
		}
		failed := err
		if run := h.Interleave; run != nil {
			h.Interleave = nil
			run()
		}
		if err := tx.Commit(); err == nil && failed != nil {
			return nil, failed
		} else if err == nil {
			if resp != nil && resp.Then != nil {
				return resp, resp.Then(h.t.Context())
			}
			return resp, nil
		} else if !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, engines.Errorf(engines.KindConflict, "lost to other writers too often")
}

// ahead does the work that comes before the handler. Where the core reads from
// an earlier snapshot, the harness reads from the handler's.
func (h *Harness) ahead(op *engines.Op, req *engines.Request, tx *Tx) error {
	h.t.Helper()
	req.Ahead = nil
	if op.Ahead == nil {
		return nil
	}
	work, err := op.Ahead(h.t.Context(), req, tx)
	if err != nil || work == nil {
		return err
	}
	if len(tx.writes) > 0 {
		h.t.Errorf("%s %s writes before its work ahead", req.Op, req.Path)
	}
	req.Ahead, err = work(h.t.Context())
	return err
}

// checkAgain runs the handler a second time on the same snapshot and compares.
func (h *Harness) checkAgain(op *engines.Op, req *engines.Request, first *Tx, resp *engines.Response, err error) {
	h.t.Helper()
	if op.Trait == engines.Reads && len(first.writes) > 0 {
		h.t.Errorf("%s %s only reads, but writes %d rows", req.Op, req.Path, len(first.writes))
	}
	again := &Tx{store: h.Store, index: first.index, reads: map[string]uint64{}, writes: map[string][]byte{}, due: map[string]time.Time{}}
	resp2, err2 := op.Handler(context.WithoutCancel(h.t.Context()), req, again)
	if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
		h.t.Errorf("%s %s run again: error %v, then %v", req.Op, req.Path, err, err2)
	}
	text, text2 := h.encode(resp), h.encode(resp2)
	if h.Random {
		return
	}
	if !bytes.Equal(text, text2) {
		h.t.Errorf("%s %s run again answers %s, then %s", req.Op, req.Path, text, text2)
	}
	if !maps.EqualFunc(first.writes, again.writes, func(a, b []byte) bool {
		return (a == nil) == (b == nil) && bytes.Equal(a, b)
	}) {
		h.t.Errorf("%s %s run again writes other rows", req.Op, req.Path)
	}
}

func (h *Harness) encode(resp *engines.Response) []byte {
	h.t.Helper()
	if resp == nil {
		return nil
	}
	text, err := json.Marshal(struct {
		Data              any
		Warnings          []string
		Auth              *engines.Auth
		Secret            *engines.Secret
		Raw               *engines.Raw
		Missing, TopLevel bool
		Headers           map[string]string
		Then              bool
	}{resp.Data, resp.Warnings, resp.Auth, resp.Secret, resp.Raw, resp.Missing, resp.TopLevel, resp.Headers, resp.Then != nil})
	if err != nil {
		h.t.Fatalf("the answer does not encode: %v", err)
	}
	return text
}

// Data decodes an answer's data as a client would see it. Numbers are
// json.Number.
func Data(t testing.TB, resp *engines.Response) map[string]any {
	t.Helper()
	if resp == nil {
		t.Fatal("no answer")
	}
	text, err := json.Marshal(resp.Data)
	if err != nil {
		t.Fatal(err)
	}
	var data map[string]any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&data); err != nil {
		t.Fatalf("data is not an object: %v", err)
	}
	return data
}
