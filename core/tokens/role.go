package tokens

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/coffer-secrets/coffer/engines"
)

// Role is what tokens made through it have in common.
type Role struct {
	Name                   string              `json:"name"`
	AllowedPolicies        []string            `json:"allowed_policies"`
	DisallowedPolicies     []string            `json:"disallowed_policies"`
	AllowedPoliciesGlob    []string            `json:"allowed_policies_glob"`
	DisallowedPoliciesGlob []string            `json:"disallowed_policies_glob"`
	AllowedEntityAliases   []string            `json:"allowed_entity_aliases"`
	Orphan                 bool                `json:"orphan"`
	Renewable              bool                `json:"renewable"`
	PathSuffix             string              `json:"path_suffix"`
	Token                  engines.TokenParams `json:"token"`

	// unnamed is the role behind create-orphan.
	unnamed bool
}

// limitsPolicies reports whether the role, and not the caller's own token,
// decides which policies a token may have.
func (r *Role) limitsPolicies() bool {
	return len(r.AllowedPolicies)+len(r.AllowedPoliciesGlob)+len(r.DisallowedPolicies)+len(r.DisallowedPoliciesGlob) > 0
}

// policies returns what a token gets that asks for these.
func (r *Role) policies(asked []string) ([]string, error) {
	allows := len(r.AllowedPolicies)+len(r.AllowedPoliciesGlob) > 0
	if len(asked) == 0 {
		if !allows {
			return nil, engines.Invalidf("the role only names policies that are not allowed: name the policies that the token shall have")
		}
		asked = slices.Clone(r.AllowedPolicies)
	}
	for _, name := range asked {
		if allows && name != DefaultPolicy && !slices.Contains(r.AllowedPolicies, name) && !matchAny(r.AllowedPoliciesGlob, name) {
			return nil, engines.Invalidf("token policies (%q) must be subset of the role's allowed policies", asked)
		}
		if r.disallows(name) {
			return nil, engines.Invalidf("token policy %q is disallowed by this role", name)
		}
	}
	return asked, nil
}

func (r *Role) disallows(name string) bool {
	return slices.Contains(r.DisallowedPolicies, name) || matchAny(r.DisallowedPoliciesGlob, name)
}

func readRole(tx engines.Tx, name string) (*Role, error) {
	entry, err := tx.Get("roles/" + name)
	if err != nil || entry == nil {
		return nil, err
	}
	r := new(Role)
	if err := json.Unmarshal(entry.Value, r); err != nil {
		return nil, engines.Internal(err)
	}
	return r, nil
}

func (e *engine) roleExists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	role, err := readRole(tx, req.Fields.String("role_name"))
	return role != nil, err
}

func (e *engine) listRoles(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	names, err := tx.List("roles/", engines.Page{})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: map[string]any{"keys": names}}, nil
}

func (e *engine) readRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := readRole(tx, req.Fields.String("role_name"))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	t := r.Token
	return &engines.Response{Data: map[string]any{
		"name": r.Name, "allowed_policies": r.AllowedPolicies, "disallowed_policies": r.DisallowedPolicies,
		"allowed_policies_glob": r.AllowedPoliciesGlob, "disallowed_policies_glob": r.DisallowedPoliciesGlob,
		"allowed_entity_aliases": r.AllowedEntityAliases, "orphan": r.Orphan, "renewable": r.Renewable,
		"path_suffix": r.PathSuffix, "period": seconds(t.Period), "explicit_max_ttl": seconds(t.ExplicitMaxTTL),
		"token_period": seconds(t.Period), "token_explicit_max_ttl": seconds(t.ExplicitMaxTTL),
		"token_bound_cidrs": t.BoundCIDRs, "bound_cidrs": t.BoundCIDRs, "token_num_uses": t.NumUses, "token_type": t.Type,
		"token_no_default_policy": t.NoDefaultPolicy, "token_strictly_bind_ip": t.StrictlyBindIP,
	}}, nil
}

func (e *engine) deleteRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return nil, tx.Delete("roles/" + req.Fields.String("role_name"))
}

func (e *engine) writeRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	f := req.Fields
	name := f.String("role_name")
	r, err := readRole(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &Role{Name: name, Renewable: true, Token: engines.TokenParams{Type: "default-service"}}
	}
	for field, into := range map[string]*[]string{
		"allowed_policies": &r.AllowedPolicies, "disallowed_policies": &r.DisallowedPolicies,
		"allowed_policies_glob": &r.AllowedPoliciesGlob, "disallowed_policies_glob": &r.DisallowedPoliciesGlob,
		"allowed_entity_aliases": &r.AllowedEntityAliases,
	} {
		if f.Has(field) {
			*into = NormalizePolicies(f.Strings(field))
		}
	}
	if f.Has("orphan") {
		r.Orphan = f.Bool("orphan")
	}
	if f.Has("renewable") {
		r.Renewable = f.Bool("renewable")
	}
	if f.Has("path_suffix") {
		if r.PathSuffix = f.String("path_suffix"); !plainSuffix(r.PathSuffix) {
			return nil, engines.Invalidf("path_suffix: at most 64 letters, digits, '-', '_' and '.'")
		}
	}
	var resp engines.Response
	if err := r.setToken(f, req.Mount, &resp); err != nil {
		return nil, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return nil, engines.Internal(err)
	}
	missing, err := e.missing(whole(tx), r.AllowedPolicies)
	if err != nil {
		return nil, err
	}
	resp.Warnings = append(resp.Warnings, MissingWarnings(missing)...)
	return &resp, tx.Put("roles/"+name, value)
}

// setToken reads the parameters that tokens get, under their present names or
// the older ones.
func (r *Role) setToken(f engines.Values, m engines.Mount, resp *engines.Response) error {
	t := &r.Token
	for _, name := range []string{"period", "token_period"} {
		if f.Has(name) {
			t.Period = f.Duration(name)
		}
	}
	for _, name := range []string{"explicit_max_ttl", "token_explicit_max_ttl"} {
		if f.Has(name) {
			t.ExplicitMaxTTL = f.Duration(name)
		}
	}
	for _, name := range []string{"bound_cidrs", "token_bound_cidrs"} {
		if f.Has(name) {
			t.BoundCIDRs = f.Strings(name)
		}
	}
	if f.Has("token_num_uses") {
		t.NumUses = f.Int("token_num_uses")
	}
	if f.Has("token_type") {
		t.Type = f.String("token_type")
	}
	if f.Has("token_no_default_policy") {
		t.NoDefaultPolicy = f.Bool("token_no_default_policy")
	}
	if f.Has("token_strictly_bind_ip") {
		t.StrictlyBindIP = f.Bool("token_strictly_bind_ip")
	}
	return r.checkToken(f.Has("renewable"), m, resp)
}

// checkToken refuses parameters that tokens cannot have. renewable says that
// the request names it: batch tokens never are.
func (r *Role) checkToken(renewable bool, m engines.Mount, resp *engines.Response) error {
	t := &r.Token
	if t.Period < 0 || t.ExplicitMaxTTL < 0 || t.NumUses < 0 {
		return engines.Invalidf("a role's durations and number of uses cannot be negative")
	}
	switch t.Type {
	case "", "default", "default-service", "default-batch", Service, Batch:
	default:
		return engines.Invalidf("invalid 'token_type' value %q", t.Type)
	}
	if t.Type == Batch && (t.Period > 0 || t.NumUses > 0 || t.ExplicitMaxTTL > 0 || !r.Orphan && r.Renewable && renewable) {
		return engines.Invalidf("'token_type' cannot be 'batch' when role is set to generate tokens that are counted, periodic or renewable")
	}
	if t.Period > m.MaxTTL {
		resp.Warnings = append(resp.Warnings, "the role's period is greater than the mount's max TTL: tokens get the max TTL as their period")
	}
	if t.ExplicitMaxTTL > m.MaxTTL {
		resp.Warnings = append(resp.Warnings, "the role's explicit max TTL is greater than the mount's max TTL: tokens get the max TTL")
	}
	_, err := ParseCIDRs(t.BoundCIDRs)
	return err
}

func plainSuffix(s string) bool {
	if len(s) > 64 {
		return false
	}
	for _, r := range s {
		if plainRune(r) != r && r != '-' {
			return false
		}
	}
	return true
}
