package userpass

import (
	"strings"
	"unicode/utf8"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/tokenparams"
)

// maxNameBytes bounds a user's name.
const maxNameBytes = 256

// New returns the engine.
func New() *engines.Engine {
	return &engines.Engine{
		Type: "userpass", Class: engines.ClassAuth, Help: "Log in with a name and a password.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "Log in with a name and a password.", Routes: routes()}, nil
		},
	}
}

func routes() []engines.Route {
	name := engines.Field{Name: "username", Type: engines.String, Help: "The user's name, in any case."}
	password := engines.Field{Name: "password", Type: engines.String, Secret: true, Help: "The password, of at most 72 bytes."}
	hash := engines.Field{Name: "password_hash", Type: engines.String, Secret: true, Help: "The password's bcrypt hash, instead of the password."}
	policies := engines.Field{Name: "policies", Type: engines.Strings, Deprecated: true, Help: "Use token_policies."}
	userFields := append([]engines.Field{name, password, hash, policies,
		{Name: "ttl", Type: engines.Seconds, Deprecated: true, Help: "Use token_ttl."},
		{Name: "max_ttl", Type: engines.Seconds, Deprecated: true, Help: "Use token_max_ttl."},
		{Name: "bound_cidrs", Type: engines.Strings, Deprecated: true, Help: "Use token_bound_cidrs."},
	}, tokenparams.Fields()...)
	tokenPolicies := engines.Field{Name: "token_policies", Type: engines.Strings, Help: "Policies of the tokens."}
	return []engines.Route{
		{Pattern: "login/{username}", Help: "Log in.", Public: true, Fields: []engines.Field{name, password}, Ops: []engines.Op{
			{Do: engines.Update, Trait: engines.Writes, Handler: login},
		}},
		{Pattern: "users", Help: "List the users.", Fields: []engines.Field{
			{Name: "after", Type: engines.String, Query: true, Help: "List what comes after this name."},
			{Name: "limit", Type: engines.Int, Query: true, Help: "List so many."},
		}, Ops: []engines.Op{{Do: engines.List, Handler: listUsers}}},
		{Pattern: "users/{username}", Help: "Read, write and delete a user.", Fields: userFields, Ops: []engines.Op{
			{Do: engines.Read, Handler: readUser},
			{Do: engines.Update, Trait: engines.Writes, Handler: writeUser, Exists: userExists},
			{Do: engines.Delete, Trait: engines.Writes, Handler: deleteUser},
		}},
		{Pattern: "users/{username}/password", Help: "Change a user's password.", Fields: []engines.Field{name, password, hash}, Ops: []engines.Op{
			{Do: engines.Update, Trait: engines.Writes, Handler: changePassword},
		}},
		{Pattern: "users/{username}/policies", Help: "Change a user's policies.", Fields: []engines.Field{name, policies, tokenPolicies}, Ops: []engines.Op{
			{Do: engines.Update, Trait: engines.Writes, Handler: changePolicies},
		}},
	}
}

// canonical is the one form of a name.
func canonical(req *engines.Request) (string, error) {
	name := strings.ToLower(strings.TrimSpace(req.Fields.String("username")))
	if name == "" || len(name) > maxNameBytes || !utf8.ValidString(name) {
		return "", engines.Invalidf("username: a name has 1 to %d bytes", maxNameBytes)
	}
	return name, nil
}
