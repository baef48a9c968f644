package mfa

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"sync/atomic"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Deps are the core's parts that second factors rest on.
type Deps struct {
	// Mounts is asked for when it is needed: the routes are part of what makes it.
	Mounts   func() *mounts.Mounts
	Identity *identity.Identity
}

// MFA asks for second factors. It is safe for concurrent use.
type MFA struct {
	Deps
	current atomic.Pointer[rules]
}

// New returns the second factors of a state.
func New(deps Deps) *MFA { return &MFA{Deps: deps} }

// The folders of the table. proofDir and pendingDir are of what passes.
const (
	methodDir      = "method/"
	methodNameDir  = "method-name/"
	enforcementDir = "enforcement/"
	secretDir      = "secret/" // secretDir/<method>/<entity>
	proofDir       = "mfa/proof/"
	pendingDir     = "mfa/pending/"
)

func region(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Factors, state.RootNamespace))
}

func passing(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Passing, state.RootNamespace))
}

// load reads a row of JSON; false if it is not there.
func load(r *state.Region, path string, into any) (bool, error) {
	entry, err := r.Get(path)
	if err != nil || entry == nil {
		return false, err
	}
	if err := json.Unmarshal(entry.Value, into); err != nil {
		return false, engines.Internal(err)
	}
	return true, nil
}

func save(r *state.Region, path string, v any, opts state.PutOptions) error {
	value, err := json.Marshal(v)
	if err != nil {
		return engines.Internal(err)
	}
	return r.PutRow(path, value, opts)
}

// newID makes a random UUID (RFC 9562, version 4).
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Routes are those below identity/.
func (m *MFA) Routes() []engines.Route {
	return append(m.methodRoutes(), m.enforcementRoutes()...)
}

func field(name string, typ engines.FieldType, help string) engines.Field {
	return engines.Field{Name: name, Type: typ, Help: help}
}

// handler runs on the whole state.
type handler func(req *engines.Request, tx *state.Tx) (*engines.Response, error)

func op(do engines.Operation, trait engines.Trait, h handler) engines.Op {
	return engines.Op{Do: do, Trait: trait, Handler: func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		return h(req, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
	}}
}

func read(h handler) engines.Op   { return op(engines.Read, engines.Reads, h) }
func list(h handler) engines.Op   { return op(engines.List, engines.Reads, h) }
func update(h handler) engines.Op { return op(engines.Update, engines.Writes, h) }
func remove(h handler) engines.Op { return op(engines.Delete, engines.Writes, h) }

func data(m map[string]any) *engines.Response { return &engines.Response{Data: m} }

// listed is a listing with something told of each.
func listed(keys []string, infos map[string]any) (*engines.Response, error) {
	if len(keys) == 0 {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"keys": keys, "key_info": infos}), nil
}

func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
