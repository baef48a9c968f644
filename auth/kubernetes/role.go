package kubernetes

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/tokenparams"
)

const roleDir = "role/"

// What the name of an alias is made of.
const (
	byUID  = "serviceaccount_uid"
	byName = "serviceaccount_name"
)

const maxEntries = 512

// role is the row of a role.
type role struct {
	Name       string              `json:"name"`
	Accounts   []string            `json:"accounts"`
	Namespaces []string            `json:"namespaces"`
	Selector   string              `json:"selector"`
	Audience   string              `json:"audience"`
	AliasBy    string              `json:"alias_by"`
	Token      engines.TokenParams `json:"token"`
}

func roleFields() []engines.Field {
	return append([]engines.Field{
		{Name: "alias_name_source", Default: byUID, Allowed: []string{byUID, byName}, Help: "What the alias is called by: \"serviceaccount_uid\", or \"serviceaccount_name\" with the namespace."},
		{Name: "audience", Help: "Whom the token has to be for."},
		{Name: "bound_service_account_names", Type: engines.Strings, Help: "Names of service accounts, or patterns with '*'."},
		{Name: "bound_service_account_namespace_selector", Help: "A label selector, in JSON or YAML, for their namespaces."},
		{Name: "bound_service_account_namespaces", Type: engines.Strings, Help: "Their namespaces, or patterns with '*'."},
	}, auth.TokenFields("policies", "ttl", "max_ttl", "period", "bound_cidrs", "num_uses")...)
}

func loadRole(tx engines.Tx, name string) (*role, uint64, error) {
	entry, err := tx.Get(roleDir + name)
	if err != nil || entry == nil {
		return nil, 0, err
	}
	r := new(role)
	if err := json.Unmarshal(entry.Value, r); err != nil {
		return nil, 0, engines.Internal(err)
	}
	return r, entry.Version, nil
}

func roleExists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return false, err
	}
	r, _, err := loadRole(tx, name)
	return r != nil, err
}

func listRoles(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return auth.List(req, tx, roleDir)
}

func deleteRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return nil, err
	}
	return nil, tx.Delete(roleDir + name)
}

func readRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return nil, err
	}
	r, _, err := loadRole(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	out := map[string]any{
		"bound_service_account_names": list(r.Accounts), "bound_service_account_namespaces": list(r.Namespaces),
		"bound_service_account_namespace_selector": r.Selector, "audience": r.Audience, "alias_name_source": r.AliasBy,
	}
	tokenparams.Show(&r.Token, out)
	return &engines.Response{Data: out}, nil
}

func writeRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return nil, err
	}
	r, _, err := loadRole(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &role{Name: name, AliasBy: byUID}
	}
	if err := r.set(req.Fields); err != nil {
		return nil, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return nil, engines.Internal(err)
	}
	resp := &engines.Response{}
	if r.Audience == "" {
		resp.Warnings = append(resp.Warnings, "the role has no audience: tokens that are for others than Coffer are taken too")
	}
	if r.Token.MaxTTL > req.Mount.MaxTTL || r.Token.TTL > req.Mount.MaxTTL {
		resp.Warnings = append(resp.Warnings, "token_ttl or token_max_ttl is greater than the mount's maximum TTL, to which the life of tokens is cut")
	}
	return resp, tx.Put(roleDir+name, value)
}

// set takes over what was given, and checks the whole.
func (r *role) set(f engines.Values) error {
	for name, into := range map[string]*string{
		"alias_name_source": &r.AliasBy, "audience": &r.Audience, "bound_service_account_namespace_selector": &r.Selector,
	} {
		if f.Has(name) {
			*into = f.String(name)
		}
	}
	for name, into := range map[string]*[]string{
		"bound_service_account_names": &r.Accounts, "bound_service_account_namespaces": &r.Namespaces,
	} {
		if !f.Has(name) {
			continue
		}
		*into = f.Strings(name)
		if len(*into) > maxEntries || slices.ContainsFunc(*into, func(s string) bool { return s == "" || len(s) > maxTextBytes }) {
			return engines.Invalidf("%s: at most %d entries, none of them empty or longer than %d bytes", name, maxEntries, maxTextBytes)
		}
		if len(*into) > 1 && slices.Contains(*into, "*") {
			return engines.Invalidf("can not mix \"*\" with values")
		}
	}
	if len(r.Accounts) == 0 {
		return engines.Invalidf("\"bound_service_account_names\" can not be empty")
	}
	if len(r.Namespaces) == 0 && r.Selector == "" {
		return engines.Invalidf("\"bound_service_account_namespaces\" can not be empty if \"bound_service_account_namespace_selector\" is not set")
	}
	if len(r.Audience) > maxTextBytes {
		return engines.Invalidf("audience: at most %d bytes", maxTextBytes)
	}
	if r.Selector != "" {
		if _, err := parseSelector(r.Selector); err != nil {
			return engines.Invalidf("bound_service_account_namespace_selector: %s", err.Error())
		}
	}
	return auth.ApplyToken(f, &r.Token)
}
