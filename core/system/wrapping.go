package system

import (
	"context"
	"maps"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) wrappingRoutes() []engines.Route {
	token := engines.Field{Name: "token", Type: engines.String, Secret: true, Help: "The wrapping token; the caller's own if not given."}
	lookup := whole(s.lookupWrapped)
	return []engines.Route{
		{Pattern: "wrapping/lookup", Help: "Tell of a wrapping token without using it.", Public: true, Fields: []engines.Field{token}, Ops: []engines.Op{read(lookup), compute(lookup)}},
		{Pattern: "wrapping/unwrap", Help: "Return what a token wraps, once.", Fields: []engines.Field{token}, Ops: []engines.Op{update(whole(s.unwrap))}},
		{Pattern: "wrapping/rewrap", Help: "Wrap the same answer under a new token.", Fields: []engines.Field{token}, Ops: []engines.Op{update(whole(s.rewrap))}},
		{Pattern: "wrapping/wrap", Help: "Wrap what is sent.", Fields: []engines.Field{{Name: "body", Type: engines.Map, Body: true, Secret: true, Help: "Anything."}}, Ops: []engines.Op{update(whole(s.wrap))}},
	}
}

// wrapped is the wrapping token that the request is about.
func wrapped(ctx context.Context, req *engines.Request) (string, error) {
	if id := req.Fields.String("token"); id != "" {
		return id, nil
	}
	if id := tokens.CallerOf(ctx).ID; id != "" {
		return id, nil
	}
	return "", engines.Invalidf("missing \"token\" value in input")
}

func (s *system) lookupWrapped(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id, err := wrapped(ctx, req)
	if err != nil {
		return nil, err
	}
	out, err := s.Wrapping.Lookup(tx, id)
	if err != nil {
		return nil, err
	}
	return data(out), nil
}

func (s *system) unwrap(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id, err := wrapped(ctx, req)
	if err != nil {
		return nil, err
	}
	body, err := s.Wrapping.Unwrap(tx, id)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Raw: &engines.Raw{Status: statusOK, ContentType: "application/json", Body: body}}, nil
}

func (s *system) rewrap(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id, err := wrapped(ctx, req)
	if err != nil {
		return nil, err
	}
	info, err := s.Wrapping.Rewrap(tx, id)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: info}, nil
}

func (s *system) wrap(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	if !req.Wrapped {
		return nil, engines.Invalidf("endpoint requires response wrapping to be used: say for how long with the header X-Vault-Wrap-TTL")
	}
	return &engines.Response{Data: maps.Clone(req.Fields.Map("body"))}, nil
}
