package system

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/core/policies"
	"github.com/coffer-secrets/coffer/core/policy"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) policyRoutes() []engines.Route {
	name := field("name", engines.String, "The policy's name.")
	fields := []engines.Field{
		name,
		field("policy", engines.String, "The policy in HCL or JSON, plain or in base64."),
		{Name: "rules", Type: engines.String, Deprecated: true, Help: "Use policy."},
		field("cas", engines.Int, "Version that the policy must have; 0 if it must be new."),
		field("cas_required", engines.Bool, "Whether every later write needs cas."),
		field("expiration", engines.Time, "When the policy stops to allow anything."),
		field("ttl", engines.Seconds, "How long the policy allows anything."),
	}
	page := []engines.Field{
		{Name: "after", Type: engines.String, Query: true, Help: "List names after this one."},
		{Name: "limit", Type: engines.Int, Query: true, Help: "List so many names."},
	}
	one := func(legacy bool) []engines.Op {
		get := whole(func(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
			return s.readPolicy(req, tx, legacy)
		})
		return []engines.Op{read(get), update(whole(s.writePolicy)), remove(whole(s.deletePolicy))}
	}
	return []engines.Route{
		{Pattern: "policies/acl", Help: "List the ACL policies.", Fields: page, Ops: []engines.Op{list(whole(s.listPolicies))}},
		{Pattern: "policies/acl/{name}", Help: "Read, write and delete an ACL policy.", Fields: fields, Ops: one(false)},
		{Pattern: "policy", Help: "List the ACL policies.", Fields: page, Ops: []engines.Op{list(whole(s.listPolicies)), read(whole(s.listPolicies))}},
		{Pattern: "policy/{name}", Help: "Read, write and delete an ACL policy.", Fields: fields, Ops: one(true)},
	}
}

func (s *system) listPolicies(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	page := engines.Page{After: req.Fields.String("after"), Limit: int(req.Fields.Int("limit"))}
	names, err := s.Policies.List(tx, page)
	if err != nil {
		return nil, err
	}
	return both(map[string]any{"keys": names, "policies": names}), nil
}

func (s *system) readPolicy(req *engines.Request, tx *state.Tx, legacy bool) (*engines.Response, error) {
	name, err := policyName(req)
	if err != nil {
		return nil, err
	}
	text := "policy"
	if legacy {
		text = "rules"
	}
	if name == policy.Root {
		return both(map[string]any{"name": name, text: ""}), nil
	}
	p, err := s.Policies.Get(tx, name)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, engines.NotFound()
	}
	out := map[string]any{
		"name": p.Name, text: p.Text, "version": p.Version, "cas_required": p.CASRequired,
		"modified": p.Modified.Format(time.RFC3339Nano),
	}
	if !p.Expiration.IsZero() {
		out["expiration"] = p.Expiration.Format(time.RFC3339Nano)
	}
	return both(out), nil
}

// policyName is the one form of the name that the request gives.
func policyName(req *engines.Request) (string, error) {
	name, err := policy.NormalizeName(req.Fields.String("name"))
	if err != nil {
		return "", engines.Invalidf("the policy's name cannot be used: %s", err.Error())
	}
	return name, nil
}

func (s *system) writePolicy(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	name, err := policyName(req)
	if err != nil {
		return nil, err
	}
	text := f.String("policy")
	if text == "" {
		text = f.String("rules")
	}
	if text == "" {
		return nil, engines.Invalidf("'policy' parameter not supplied or empty")
	}
	change := policies.Change{Text: fromBase64(text), Expiration: f.Time("expiration")}
	if ttl := f.Duration("ttl"); ttl > 0 {
		change.Expiration = req.Now.Add(ttl)
	}
	if f.Has("cas") {
		cas := f.Int("cas")
		change.CAS = &cas
	}
	if f.Has("cas_required") {
		required := f.Bool("cas_required")
		change.CASRequired = &required
	}
	return nil, s.Policies.Put(tx, name, change)
}

func (s *system) deletePolicy(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name, err := policyName(req)
	if err != nil {
		return nil, err
	}
	return nil, s.Policies.Delete(tx, name)
}
