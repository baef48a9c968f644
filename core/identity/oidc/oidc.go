package oidc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"math/big"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Deps are what tokens are made from.
type Deps struct {
	Identity *identity.Identity
	// APIAddr is where clients reach the cluster: issuers are below it unless
	// they are configured.
	APIAddr string
}

// OIDC makes identity tokens. It is safe for concurrent use.
type OIDC struct {
	Deps
	due atomic.Pointer[due]
}

// New returns the issuer of identity tokens of a state.
func New(deps Deps) *OIDC { return &OIDC{Deps: deps} }

// The folders of the table. codeDir and accessDir are of what passes.
const (
	configPath    = "config"
	keyDir        = "key/"
	roleDir       = "role/"
	assignmentDir = "assignment/"
	scopeDir      = "scope/"
	clientDir     = "client/"
	clientIDDir   = "client-id/"
	providerDir   = "provider/"
	codeDir       = "oidc/code/"
	accessDir     = "oidc/access/"
)

// What is there from the start.
const (
	defaultName = "default"
	allowAll    = "allow_all"
	anyID       = "*"
	openID      = "openid"
)

// Bounds of what is configured.
const (
	maxItems    = 10000
	maxEntries  = 1000
	maxTemplate = 16 << 10
	maxText     = 2 << 10
)

func region(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Issuers, state.RootNamespace))
}

func passing(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Passing, state.RootNamespace))
}

// load reads a row of JSON, or nil.
func load[T any](r *state.Region, path string) (*T, error) {
	entry, err := r.Get(path)
	if err != nil || entry == nil {
		return nil, err
	}
	out := new(T)
	if err := json.Unmarshal(entry.Value, out); err != nil {
		return nil, engines.Internal(nil) // the cause may tell of a key
	}
	return out, nil
}

func save(r *state.Region, path string, v any, opts state.PutOptions) error {
	value, err := json.Marshal(v)
	if err != nil {
		return engines.Internal(nil)
	}
	return r.PutRow(path, value, opts)
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// named loads the row that a request names; the name may be anything.
func named[T any](tx *state.Tx, dir, name string) (*T, error) {
	if !nameForm.MatchString(name) {
		return nil, nil
	}
	return load[T](region(tx), dir+name)
}

// checkName is asked before a name is written.
func checkName(tx *state.Tx, dir, name string, made bool) error {
	if !nameForm.MatchString(name) {
		return engines.Invalidf("name: expected at most 128 letters, digits, \"_\", \".\" and \"-\"")
	}
	if !made {
		return nil
	}
	names, err := region(tx).List(dir, engines.Page{})
	if err == nil && len(names) >= maxItems {
		return engines.Invalidf("there are %d already, which is the limit", maxItems)
	}
	return err
}

// all loads every row of a folder.
func all[T any](tx *state.Tx, dir string) (map[string]*T, error) {
	names, err := region(tx).List(dir, engines.Page{})
	if err != nil {
		return nil, err
	}
	out := make(map[string]*T, len(names))
	for _, name := range names {
		row, err := load[T](region(tx), dir+name)
		if err != nil {
			return nil, err
		}
		if row != nil {
			out[name] = row
		}
	}
	return out, nil
}

// Routes are those below identity/.
func (o *OIDC) Routes() []engines.Route {
	return slices.Concat(o.configRoutes(), o.keyRoutes(), o.roleRoutes(), o.assignmentRoutes(), o.scopeRoutes(),
		o.clientRoutes(), o.providerRoutes(), o.flowRoutes(), o.mountRoutes())
}

func field(name string, typ engines.FieldType, help string) engines.Field {
	return engines.Field{Name: name, Type: typ, Help: help}
}

// handler runs on the whole state.
type handler func(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error)

func op(do engines.Operation, trait engines.Trait, h handler) engines.Op {
	return engines.Op{Do: do, Trait: trait, Handler: func(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		return h(ctx, req, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
	}}
}

func read(h handler) engines.Op   { return op(engines.Read, engines.Reads, h) }
func list(h handler) engines.Op   { return op(engines.List, engines.Reads, h) }
func update(h handler) engines.Op { return op(engines.Update, engines.Writes, h) }
func remove(h handler) engines.Op { return op(engines.Delete, engines.Writes, h) }

func data(m map[string]any) *engines.Response { return &engines.Response{Data: m} }

// listNames lists a folder, and what is there from the start.
func listNames(dir string, always ...string) handler {
	return func(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
		names, err := region(tx).List(dir, engines.Page{})
		if err != nil {
			return nil, err
		}
		names = append(names, always...)
		slices.Sort(names)
		if names = slices.Compact(names); len(names) == 0 {
			return nil, engines.NotFound()
		}
		return data(map[string]any{"keys": names}), nil
	}
}

// raw is an answer without an envelope, as OpenID Connect has them.
func raw(status int, v any) (*engines.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, engines.Internal(nil)
	}
	return &engines.Response{Raw: &engines.Raw{Status: status, ContentType: "application/json", Body: body}}, nil
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// random is n random characters.
func random(n int) (string, error) {
	out := make([]byte, n)
	for i := range out {
		at, err := rand.Int(rand.Reader, big.NewInt(int64(len(base62))))
		if err != nil {
			return "", engines.Internal(err)
		}
		out[i] = base62[at.Int64()]
	}
	return string(out), nil
}

func clean(what string, values []string) ([]string, error) {
	var out []string
	for _, value := range values {
		if value = strings.TrimSpace(value); value != "" {
			out = append(out, value)
		}
		if len(value) > maxText {
			return nil, engines.Invalidf("%s: an entry is longer than %d bytes", what, maxText)
		}
	}
	if len(out) > maxEntries {
		return nil, engines.Invalidf("%s: at most %d", what, maxEntries)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// allows reports whether a list of ids holds an id, or all.
func allows(list []string, id string) bool {
	return slices.Contains(list, anyID) || slices.Contains(list, id)
}

// checkIssuer takes a scheme, a host and perhaps a port.
func checkIssuer(issuer string) error {
	if issuer == "" {
		return nil
	}
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || len(issuer) > maxText ||
		strings.TrimSuffix(issuer, "/") != u.Scheme+"://"+u.Host {
		return engines.Invalidf("invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)")
	}
	return nil
}

// below is an issuer's URL: a path of the API at what is configured, or at
// where clients reach the cluster.
func (o *OIDC) below(base, path string) string { return o.at(base) + "/v1/" + path }

func (o *OIDC) at(base string) string {
	if base == "" {
		base = o.APIAddr
	}
	return strings.TrimSuffix(base, "/")
}
