package core

import (
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

// policyFields are what roles, users, entities and groups call the policies
// that they give.
var policyFields = []string{"token_policies", "policies"} //nolint:gochecknoglobals // a constant list

// maxWarned bounds how many names are looked up for a warning.
const maxWarned = 256

// missingPolicies warns of the policies that a write gives and that there are
// none of. It is done here for every way to log in and for identities: none of
// them knows of policies. Tokens and their roles, where the names are not the
// caller's alone, say so themselves.
func (u *Unsealed) missingPolicies(tx *state.Tx, a *authorised) ([]string, error) {
	switch {
	case a.does != engines.Create && a.does != engines.Update && a.does != engines.Patch:
		return nil, nil
	case a.mount.Class != engines.ClassAuth && a.mount.Type != "identity", a.mount.Type == "token":
		return nil, nil
	}
	var names []string
	for _, field := range policyFields {
		if given, ok := a.fields.Given()[field].([]string); ok {
			names = append(names, given...)
		}
	}
	if len(names) == 0 || len(names) > maxWarned {
		return nil, nil
	}
	missing, err := u.policies.Missing(tx, tokens.NormalizePolicies(names))
	return tokens.MissingWarnings(missing), err
}
