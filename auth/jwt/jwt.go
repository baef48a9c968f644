package jwt

import (
	"slices"

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
	routes := []engines.Route{
		{
			Pattern: "config", Help: "Whose tokens count.", Fields: configFields(),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readConfig},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeConfig, Ahead: e.proveConfig, Help: "Replace the configuration."},
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
	return slices.Concat(routes, roles.Routes(), e.oidcRoutes(), e.programRoutes())
}
