package kubernetes

import (
	"slices"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
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

var roles = auth.Roles[role, *role]{
	Dir: roleDir, Pattern: "role", Fields: roleFields(),
	New: func(name string) *role { return &role{Name: name, AliasBy: byUID} },
}

// TokenParams implements auth.Role.
func (r *role) TokenParams() *engines.TokenParams { return &r.Token }

// Show implements auth.Role.
func (r *role) Show() map[string]any {
	return map[string]any{
		"bound_service_account_names": auth.Strings(r.Accounts), "bound_service_account_namespaces": auth.Strings(r.Namespaces),
		"bound_service_account_namespace_selector": r.Selector, "audience": r.Audience, "alias_name_source": r.AliasBy,
	}
}

// Set implements auth.Role.
func (r *role) Set(f engines.Values) (warnings []string, err error) {
	if err := r.set(f); err != nil {
		return nil, err
	}
	if r.Audience == "" {
		warnings = append(warnings, "the role has no audience: tokens that are for others than Coffer are taken too")
	}
	return warnings, nil
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
