package approle

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/lockout"
	"github.com/coffer-secrets/coffer/engines"
)

const wrong = "invalid role or secret ID"

// loginRole is the role whose id a login brings.
func loginRole(body map[string]json.RawMessage, tx engines.Tx) (string, error) {
	var id string
	if json.Unmarshal(body["role_id"], &id) != nil || !auth.Plain(id) {
		return "", nil //nolint:nilerr // what is no id is that of no role
	}
	entry, err := tx.Get(idRow(id))
	if err != nil || entry == nil {
		return "", err
	}
	return string(entry.Value), nil
}

// login finds the role and the secret id. A role id that does not exist is
// answered, counted and locked like one that does: neither is told which there
// are.
func (e *engine) login(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	roleID := req.Fields.String("role_id")
	if roleID == "" {
		return nil, engines.Invalidf("missing role_id")
	}
	r, err := e.roleByID(req, tx, roleID)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, stranger(req, tx, roleID)
	}
	params, metadata := r.Token, map[string]string{}
	if r.BindSecretID {
		s, err := e.prove(r, req, tx)
		if err != nil {
			return nil, err
		}
		maps.Copy(metadata, s.Metadata)
		if len(s.TokenCIDRs) > 0 {
			params.BoundCIDRs = s.TokenCIDRs
		}
	}
	if !auth.Allows(r.CIDRs, req.Caller.Addr) || !auth.Allows(r.Token.BoundCIDRs, req.Caller.Addr) {
		if !r.BindSecretID {
			return nil, stranger(req, tx, roleID)
		}
		return nil, engines.Invalidf("source address unauthorized by CIDR restrictions on the role")
	}
	metadata["role_name"] = r.Name
	return &engines.Response{Auth: &engines.Auth{
		Alias: r.RoleID, AliasMetadata: metadata, Metadata: metadata, Token: params,
	}}, nil
}

// stranger refuses a login with a role id that is not known, or good for
// nothing from where it comes.
func stranger(req *engines.Request, tx engines.Tx, roleID string) error {
	if req.Fields.String("secret_id") == "" {
		return errMissing()
	}
	rules, who := lockout.RulesOf(req.Mount.Lockout), lockout.Name{Text: roleID}
	if err := lockout.Check(tx, rules, who, req.Now); err != nil {
		return err
	}
	if err := lockout.Fail(tx, rules, who, req.Now); err != nil {
		return err
	}
	return errWrong()
}

func errMissing() error { return engines.Invalidf("missing secret_id") }

// errWrong is kept, since the failure is counted.
func errWrong() error { return &engines.Error{Kind: engines.KindInvalid, Message: wrong, Keep: true} }

// prove finds the secret id that a login comes with and takes a use of it. A
// wrong one counts against the role id.
func (e *engine) prove(r *role, req *engines.Request, tx engines.Tx) (*secret, error) {
	secretID := req.Fields.String("secret_id")
	if secretID == "" {
		return nil, errMissing()
	}
	rules, who := lockout.RulesOf(req.Mount.Lockout), lockout.Name{Text: r.RoleID, Known: true}
	if err := lockout.Check(tx, rules, who, req.Now); err != nil {
		return nil, err
	}
	s, err := e.secret(req, tx, r.secretRow(secretID))
	if err != nil {
		return nil, err
	}
	if err := s.fits(r, req); err != nil {
		if err := lockout.Fail(tx, rules, who, req.Now); err != nil {
			return nil, err
		}
		return nil, err
	}
	if err := lockout.Succeed(tx, r.RoleID); err != nil {
		return nil, err
	}
	return s, s.use(tx, req.Now)
}

// fits refuses a login with a secret id that there is not, or that may not be
// used so. The failure is kept, since it is counted.
func (s *secret) fits(r *role, req *engines.Request) error {
	refuse := func(text string) error { return &engines.Error{Kind: engines.KindInvalid, Message: text, Keep: true} }
	switch {
	case s == nil:
		return errWrong()
	case !auth.Allows(s.CIDRs, req.Caller.Addr) || !auth.Allows(s.TokenCIDRs, req.Caller.Addr):
		return refuse("source address unauthorized by CIDR restrictions on the secret ID")
	case !auth.Within(s.TokenCIDRs, r.Token.BoundCIDRs):
		return refuse("the secret ID gives tokens for addresses that the role no longer allows: make another one")
	}
	return nil
}

// renew lets a token be renewed as long as there is its role.
func renew(_ context.Context, r *engines.Renewal, tx engines.Tx) (*engines.TokenParams, error) {
	role, err := roleByName(tx, r.Metadata["role_name"])
	if err != nil {
		return nil, err
	}
	if role == nil {
		return nil, auth.ErrGone("role")
	}
	return &role.Token, nil
}
