package system

import (
	"context"
	"slices"

	"github.com/coffer-secrets/coffer/core/paths"
	"github.com/coffer-secrets/coffer/core/policy"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

// operationNames are those that a decision can be asked for.
var operationNames = []string{"create", "read", "update", "patch", "delete", "list", "scan"}

func (s *system) explainRoutes() []engines.Route {
	return []engines.Route{{
		Pattern: "policies/explain", Help: "Tell what policy decides on a request, and why.",
		Description: "Without a subject, the caller's own token is meant. To ask about others the caller needs sudo.",
		Fields: []engines.Field{
			{Name: "path", Type: engines.String, Required: true, Help: "The API path, without /v1/."},
			{Name: "operation", Type: engines.String, Default: "read", Allowed: operationNames, Help: "What shall be done with it."},
			field("accessor", engines.String, "Accessor of the token to ask about."),
			field("entity_id", engines.String, "Entity to ask about."),
			field("policies", engines.Strings, "Policies to ask about."),
			field("parameters", engines.Map, "The request's parameters."),
			field("wrap_ttl", engines.Seconds, "How long the answer shall be wrapped."),
		},
		Ops: []engines.Op{compute(whole(s.explain))},
	}}
}

func (s *system) explain(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	acl, err := s.subject(ctx, req, tx)
	if err != nil {
		return nil, err
	}
	path, dir, err := paths.Canonical(f.String("path"))
	if err != nil {
		return nil, err
	}
	op := f.String("operation")
	if dir || op == "list" || op == "scan" {
		path += "/"
	}
	capability, ok := policy.CapabilityOf(op)
	if !ok {
		return nil, engines.Invalidf("operation: one of %v", operationNames)
	}
	e := acl.Explain(&policy.Request{Path: path, Op: capability, Parameters: f.Map("parameters"), WrapTTL: f.Duration("wrap_ttl")})
	sudo, err := s.needsSudo(tx, path)
	if err != nil {
		return nil, err
	}
	reason := string(e.Reason)
	switch {
	case e.Root:
		reason = "the root policy allows everything"
	case e.Allowed && sudo && !e.Sudo:
		e.Allowed, reason = false, "the path also needs the capability \"sudo\""
	case e.Allowed:
		reason = "the rule gives the capability"
	}
	out := map[string]any{
		"path": path, "operation": op, "allowed": e.Allowed, "reason": reason, "sudo_required": sudo, "rule": showRule(e.Rule), "lost": []any{},
	}
	lost := make([]any, 0, len(e.Lost))
	for _, rule := range e.Lost {
		lost = append(lost, showRule(rule))
	}
	out["lost"] = lost
	return data(out), nil
}

// subject is the policy of whom the request asks about.
func (s *system) subject(ctx context.Context, req *engines.Request, tx *state.Tx) (*policy.ACL, error) {
	f, caller := req.Fields, tokens.CallerOf(ctx)
	accessor, entity, names := f.String("accessor"), f.String("entity_id"), f.Strings("policies")
	if accessor == "" && entity == "" && len(names) == 0 {
		return s.ACL(tx, caller.Token)
	}
	if !caller.Sudo && !caller.Token.IsRoot() {
		return nil, engines.Errorf(engines.KindDenied, "permission denied")
	}
	if accessor != "" {
		t, err := s.Tokens.FindByAccessor(tx, accessor)
		if err != nil {
			return nil, err
		}
		return s.ACL(tx, t)
	}
	names = tokens.NormalizePolicies(slices.Clone(names))
	return s.ACL(tx, &tokens.Token{Policies: names, EntityID: entity})
}

// needsSudo reports whether the route of a path asks for sudo.
func (s *system) needsSudo(tx *state.Tx, path string) (bool, error) {
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return false, err
	}
	m, rest, ok := router.Find(path)
	if !ok {
		return false, nil
	}
	match, ok := m.Table.Match(rest)
	return ok && match.Route.Sudo, nil
}

// showRule tells of a rule: what it is for, what it gives, and where it stands.
func showRule(r *policy.Rule) any {
	if r == nil {
		return nil
	}
	sources := make([]any, 0, len(r.Sources))
	for _, src := range r.Sources {
		sources = append(sources, map[string]any{"policy": src.Policy, "line": src.Line, "path": src.Path})
	}
	return map[string]any{"path": r.Path(), "capabilities": r.Capabilities().Names(), "sources": sources}
}
