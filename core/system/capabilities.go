package system

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

const maxCapabilityPaths = 1024

func (s *system) capabilityRoutes() []engines.Route {
	paths := []engines.Field{
		field("paths", engines.Strings, "The paths to ask about."),
		{Name: "path", Type: engines.Strings, Help: "Use paths."},
		{Name: "token", Type: engines.String, Secret: true, Help: "The token to ask about."},
		field("accessor", engines.String, "Accessor of the token to ask about."),
	}
	return []engines.Route{
		{Pattern: "capabilities", Help: "Tell what a token may do on paths.", Fields: paths, Ops: []engines.Op{compute(whole(s.capabilities))}},
		{Pattern: "capabilities-self", Help: "Tell what the caller may do on paths.", Fields: paths, Ops: []engines.Op{compute(whole(s.capabilitiesSelf))}},
		{Pattern: "capabilities-accessor", Help: "Tell what the token with an accessor may do on paths.", Fields: paths, Ops: []engines.Op{compute(whole(s.capabilitiesAccessor))}},
	}
}

func (s *system) capabilities(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id := req.Fields.String("token")
	if id == "" {
		return nil, engines.Invalidf("missing token")
	}
	t, err := s.Tokens.Find(tx, id)
	if err != nil {
		if engines.KindOf(err) == engines.KindUnauthorized {
			return nil, engines.Invalidf("invalid token")
		}
		return nil, err
	}
	return s.capabilitiesOf(tx, t, req)
}

func (s *system) capabilitiesSelf(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return s.capabilitiesOf(tx, tokens.CallerOf(ctx).Token, req)
}

func (s *system) capabilitiesAccessor(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	t, err := s.Tokens.FindByAccessor(tx, req.Fields.String("accessor"))
	if err != nil {
		return nil, err
	}
	return s.capabilitiesOf(tx, t, req)
}

func (s *system) capabilitiesOf(tx *state.Tx, t *tokens.Token, req *engines.Request) (*engines.Response, error) {
	asked := slices.Concat(req.Fields.Strings("paths"), req.Fields.Strings("path"))
	if len(asked) == 0 {
		return nil, engines.Invalidf("paths must be supplied")
	}
	if len(asked) > maxCapabilityPaths {
		return nil, engines.Invalidf("paths: at most %d", maxCapabilityPaths)
	}
	acl, err := s.ACL(tx, t)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(asked)+1)
	for _, path := range asked {
		out[path] = acl.Capabilities(strings.TrimPrefix(path, "/"))
	}
	result := maps.Clone(out)
	if len(asked) == 1 {
		result["capabilities"] = out[asked[0]]
	}
	return both(result), nil
}
