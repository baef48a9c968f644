package system

import (
	"context"
	"slices"
	"strings"
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
		ops := []engines.Op{read(get), list(whole(s.listPolicies)), update(whole(s.writePolicy)), remove(whole(s.deletePolicy))}
		if !legacy {
			ops = append(ops, engines.Op{Do: engines.Patch, Trait: engines.Writes, Handler: whole(s.patchPolicy), Help: "Change what is given of an ACL policy."})
		}
		return ops
	}
	fields = append(fields, page...)
	below := append([]engines.Field{field("name", engines.String, "What the names begin with.")}, page...)
	detailed := []engines.Op{list(whole(s.listDetailed))}
	return []engines.Route{
		{Pattern: "policies/acl", Help: "List the ACL policies.", Fields: page, Ops: []engines.Op{list(whole(s.listPolicies))}},
		{Pattern: "policies/acl/{name}", Help: "Read, write and delete an ACL policy.", Fields: fields, Ops: one(false)},
		{Pattern: "policies/detailed/acl", Help: "List the ACL policies with what they say.", Fields: page, Ops: detailed},
		{Pattern: "policies/detailed/acl/{name}", Help: "List the ACL policies with what they say.", Fields: below, Ops: detailed},
		{Pattern: "policy", Help: "List the ACL policies.", Fields: page, Ops: []engines.Op{list(whole(s.listPolicies)), read(whole(s.listPolicies))}},
		{Pattern: "policy/{name}", Help: "Read, write and delete an ACL policy.", Fields: fields, Ops: one(true)},
	}
}

func (s *system) listPolicies(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	names, err := s.policyNames(req, tx)
	if err != nil {
		return nil, err
	}
	return both(map[string]any{"keys": names, "policies": names}), nil
}

// policyNames is a page of the names that begin with the one in the path, if
// there is one there.
func (s *system) policyNames(req *engines.Request, tx *state.Tx) ([]string, error) {
	page := engines.Page{After: req.Fields.String("after"), Limit: int(req.Fields.Int("limit"))}
	prefix, _ := req.Fields.Get("name").(string)
	if prefix == "" {
		return s.Policies.List(tx, page)
	}
	names, err := s.Policies.List(tx, engines.Page{After: page.After})
	if err != nil {
		return nil, err
	}
	prefix = strings.ToLower(strings.TrimSuffix(prefix, "/"))
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	if page.Limit > 0 && page.Limit < len(names) {
		names = names[:page.Limit]
	}
	return names, nil
}

func (s *system) listDetailed(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	names, err := s.policyNames(req, tx)
	if err != nil {
		return nil, err
	}
	info := make(map[string]any, len(names))
	for _, name := range names {
		if name == policy.Root {
			info[name] = map[string]any{"name": name, "policy": ""}
			continue
		}
		p, err := s.Policies.Get(tx, name)
		if err != nil {
			return nil, err
		}
		if p != nil {
			info[name] = showPolicy(p, "policy")
		}
	}
	return data(map[string]any{"keys": names, "key_info": info}), nil
}

// showPolicy is what is told of a policy, with its text under a name.
func showPolicy(p *policies.Stored, text string) map[string]any {
	out := map[string]any{
		"name": p.Name, text: p.Text, "version": p.Version, "cas_required": p.CASRequired,
		"modified": p.Modified.Format(time.RFC3339Nano),
	}
	if !p.Expiration.IsZero() {
		out["expiration"] = p.Expiration.Format(time.RFC3339Nano)
	}
	return out
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
	return both(showPolicy(p, text)), nil
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
	change := policyChange(req, fromBase64(text))
	return nil, s.Policies.Put(tx, name, change)
}

// patchPolicy changes what is given; a policy must be there.
func (s *system) patchPolicy(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name, err := policyName(req)
	if err != nil {
		return nil, err
	}
	stored, err := s.Policies.Get(tx, name)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, engines.NotFound()
	}
	text := stored.Text
	if given := req.Fields.String("policy"); given != "" {
		text = fromBase64(given)
	}
	change := policyChange(req, text)
	if !req.Fields.Has("expiration") && !req.Fields.Has("ttl") {
		change.Expiration = stored.Expiration
	}
	return nil, s.Policies.Put(tx, name, change)
}

// policyChange is what a request asks to be written.
func policyChange(req *engines.Request, text string) policies.Change {
	f := req.Fields
	change := policies.Change{Text: text, Expiration: f.Time("expiration")}
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
	return change
}

func (s *system) deletePolicy(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name, err := policyName(req)
	if err != nil {
		return nil, err
	}
	return nil, s.Policies.Delete(tx, name)
}
