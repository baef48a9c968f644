package jwt

import (
	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// The engines' types.
const (
	Type     = "jwt"
	OIDCType = "oidc"
)

// engine is what all mounts share.
type engine struct{ providers providers }

// New returns the engine "jwt".
func New() *engines.Engine {
	return newEngine(Type, "Log in with a JSON Web Token, or at an OpenID Connect provider.")
}

// NewOIDC returns the same engine as "oidc".
func NewOIDC() *engines.Engine {
	return newEngine(OIDCType, "Log in at an OpenID Connect provider, or with a JSON Web Token.")
}

func newEngine(kind, help string) *engines.Engine {
	e := &engine{}
	return &engines.Engine{
		Type: kind, Class: engines.ClassAuth, Help: help, Renew: renew,
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{
				Help:   "Lets callers in by signed tokens of an issuer that the configuration trusts. A role\nsays which tokens, and what their bearers get.",
				Routes: e.routes(),
			}, nil
		},
	}
}

func (e *engine) routes() []engines.Route {
	name := engines.Field{Name: "name", Help: "The name of the role, in any case."}
	routes := []engines.Route{
		{
			Pattern: "config", Help: "Whose tokens count.", Fields: configFields(),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readConfig},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeConfig, Ahead: e.proveConfig, Help: "Replace the configuration."},
			},
		},
		{
			Pattern: "role", Help: "List the roles.", Fields: auth.Paging(),
			Ops: []engines.Op{{Do: engines.List, Handler: listRoles}},
		},
		{
			Pattern: "role/{name}", Help: "Read, write and delete a role.", Fields: append([]engines.Field{name}, roleFields()...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readRole},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeRole, Exists: roleExists, Help: "Write what is given of the role."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: deleteRole},
			},
		},
		{
			Pattern: "login", Help: "Log in with a token.", Public: true,
			Fields: []engines.Field{
				{Name: "role", Help: "The role to log in by; that of the configuration if empty."},
				{Name: "jwt", Secret: true, Help: "The token."},
			},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Ahead: e.verifyLogin, Handler: login}},
		},
	}
	return append(append(routes, e.oidcRoutes()...), e.programRoutes()...)
}
