package system

import (
	"context"

	"github.com/coffer-secrets/coffer/core/passwords"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) passwordRoutes() []engines.Route {
	name := field("name", engines.String, "The policy's name.")
	return []engines.Route{
		{Pattern: "policies/password", Help: "List the password policies.", Fields: []engines.Field{
			{Name: "after", Type: engines.String, Query: true, Help: "List names after this one."},
			{Name: "limit", Type: engines.Int, Query: true, Help: "List so many names."},
		}, Ops: []engines.Op{list(whole(listPasswordPolicies))}},
		{Pattern: "policies/password/{name}", Help: "Read, write and delete a password policy.", Fields: []engines.Field{
			name, field("policy", engines.String, "The policy in HCL or JSON, plain or in base64."),
		}, Ops: []engines.Op{read(whole(readPasswordPolicy)), update(whole(writePasswordPolicy)), remove(whole(deletePasswordPolicy))}},
		{Pattern: "policies/password/{name}/generate", Help: "Make a password by a policy.", Fields: []engines.Field{name}, Ops: []engines.Op{read(whole(generatePassword))}},
	}
}

func listPasswordPolicies(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	names, err := passwords.List(tx, engines.Page{After: req.Fields.String("after"), Limit: int(req.Fields.Int("limit"))})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"keys": names}), nil
}

func readPasswordPolicy(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	text, err := passwords.Get(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	return data(map[string]any{"policy": text}), nil
}

func writePasswordPolicy(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	text := req.Fields.String("policy")
	if text == "" {
		return nil, engines.Invalidf("missing policy")
	}
	return nil, passwords.Put(tx, req.Fields.String("name"), fromBase64(text))
}

func deletePasswordPolicy(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return nil, passwords.Delete(tx, req.Fields.String("name"))
}

func generatePassword(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	password, err := passwords.Generate(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	return data(map[string]any{"password": password}), nil
}
