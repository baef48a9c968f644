package userpass

import (
	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// New returns the engine.
func New() *engines.Engine {
	return &engines.Engine{
		Type: "userpass", Class: engines.ClassAuth, Help: "Log in with a name and a password.", Renew: renew,
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "Log in with a name and a password.", Routes: routes()}, nil
		},
	}
}

func routes() []engines.Route {
	name := engines.Field{Name: "username", Type: engines.String, Help: "The user's name, in any case."}
	password := engines.Field{Name: "password", Type: engines.String, Secret: true, Help: "The password, of at most 72 bytes."}
	hash := engines.Field{Name: "password_hash", Type: engines.String, Secret: true, Help: "The password's bcrypt hash, instead of the password."}
	userFields := append([]engines.Field{name, password, hash}, auth.TokenFields("policies", "ttl", "max_ttl", "bound_cidrs")...)
	policies := engines.Field{Name: "policies", Type: engines.Strings, Deprecated: true, Help: "Use token_policies."}
	tokenPolicies := engines.Field{Name: "token_policies", Type: engines.Strings, Help: "Policies of the tokens."}
	return []engines.Route{
		{Pattern: "login/{username}", Help: "Log in.", Public: true, Fields: []engines.Field{name, password}, Ops: []engines.Op{
			{Do: engines.Update, Trait: engines.Writes, Handler: login, Ahead: comparing},
		}},
		{Pattern: "users", Help: "List the users.", Fields: auth.Paging(), Ops: []engines.Op{{Do: engines.List, Handler: listUsers}}},
		{Pattern: "users/{username}", Help: "Read, write and delete a user.", Fields: userFields, Ops: []engines.Op{
			{Do: engines.Read, Handler: readUser},
			{Do: engines.Update, Trait: engines.Writes, Handler: writeUser, Exists: userExists, Ahead: hashing},
			{Do: engines.Delete, Trait: engines.Writes, Handler: deleteUser},
		}},
		{Pattern: "users/{username}/password", Help: "Change a user's password.", Fields: []engines.Field{name, password, hash}, Ops: []engines.Op{
			{Do: engines.Update, Trait: engines.Writes, Handler: changePassword, Ahead: hashing},
		}},
		{Pattern: "users/{username}/policies", Help: "Change a user's policies.", Fields: []engines.Field{name, policies, tokenPolicies}, Ops: []engines.Op{
			{Do: engines.Update, Trait: engines.Writes, Handler: changePolicies},
		}},
	}
}

// canonical is the one form of the user's name.
func canonical(req *engines.Request) (string, error) { return auth.Name(req, "username") }
