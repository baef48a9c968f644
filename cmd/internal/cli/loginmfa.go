package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/client"
)

// mfaMethod is one method that would do for a constraint.
type mfaMethod struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

// mfaRequirement is what a login that waits for a second factor asks for.
type mfaRequirement struct {
	ID          string `json:"mfa_request_id"`
	Constraints map[string]struct {
		Any []mfaMethod `json:"any"`
	} `json:"mfa_constraints"`
}

// waiting returns what a login waits for, or nil.
func waiting(s *client.Secret) *mfaRequirement {
	if s == nil || s.Auth == nil || s.Auth.ClientToken != "" {
		return nil
	}
	text := bytes.TrimSpace(s.Auth.MFARequirement)
	r := new(mfaRequirement)
	if len(text) == 0 || json.Unmarshal(text, r) != nil || r.ID == "" {
		return nil
	}
	return r
}

// secondFactor asks for the passcodes that a login waits for and brings them.
// The answer is nil if nobody can be asked.
func (a *app) secondFactor(ctx context.Context, c *client.Client, r *mfaRequirement) (*client.Secret, error) {
	payload := make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(r.Constraints)) {
		methods := r.Constraints[name].Any
		if slices.ContainsFunc(methods, func(m mfaMethod) bool { return payload[m.ID] != nil }) {
			continue
		}
		passcode := ""
		for i, m := range methods {
			var err error
			if passcode, err = a.secretInput(ctx, passcodePrompt(m, i < len(methods)-1)); err != nil {
				if ctx.Err() != nil || len(payload) > 0 {
					return nil, err
				}
				return nil, nil // there is nobody to ask
			}
			if passcode != "" {
				payload[m.ID] = []string{passcode}
				break
			}
		}
		if passcode == "" {
			return nil, usagef("No passcode was given for %q.", name)
		}
	}
	s, err := c.Call(ctx, &client.Request{Method: http.MethodPut, Path: "sys/mfa/validate", Anonymous: true, Body: map[string]any{
		"mfa_request_id": r.ID, "mfa_payload": payload,
	}})
	if err != nil {
		return nil, remotef(err, "Error validating the passcode")
	}
	return s, nil
}

func passcodePrompt(m mfaMethod, others bool) string {
	name := m.Name
	if name == "" {
		name = m.ID
	}
	text := "Passcode of " + name + ", which is of type " + m.Type
	if others {
		text += "; none for another method"
	}
	return text
}

// stillWaiting says how to bring the passcodes in another way.
func (a *app) stillWaiting(s *client.Secret, r *mfaRequirement) error {
	a.warn("The login waits for a second factor, for five minutes. Bring it with\n" +
		"  $ coffer write sys/mfa/validate - <<< '{\"mfa_request_id\": \"ID\", \"mfa_payload\": {\"METHOD\": [\"PASSCODE\"]}}'\n")
	if a.opts.format != formatTable || a.opts.field != "" {
		return a.secret(s)
	}
	rows := [][]string{{"mfa_request_id", r.ID}}
	for _, name := range slices.Sorted(maps.Keys(r.Constraints)) {
		var ids []string
		for _, m := range r.Constraints[name].Any {
			ids = append(ids, m.ID+" ("+m.Type+")")
		}
		rows = append(rows, []string{"mfa_constraint_" + name, strings.Join(ids, " or ")})
	}
	return a.say("%s", keyValue(rows))
}
