package core

import (
	"context"
	"slices"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/mfa"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

// headerMFA carries passcodes with the login itself.
const headerMFA = "X-Vault-MFA"

// login makes the token of a caller that a way to log in vouches for, or keeps
// the login if it needs a second factor that did not come with it.
func (u *Unsealed) login(tx *state.Tx, a *authorised, auth *engines.Auth, env *answer.Envelope) (*answer.Auth, error) {
	if a.mount.Class != engines.ClassAuth {
		return nil, engines.Errorf(engines.KindInternal, "only a way to log in can vouch for a caller")
	}
	entity, err := u.identity.Login(tx, a.mount.Info, auth)
	if err != nil {
		return nil, err
	}
	p := &mfa.Pending{Auth: auth, Accessor: a.mount.Accessor, Path: a.path, Addr: a.in.Addr, EntityID: entity}
	need, err := u.mfa.Needs(tx, a.mount.Info, entity)
	if err != nil {
		return nil, err
	}
	if need != nil {
		var header []string
		if a.in.Header != nil {
			header = a.in.Header(headerMFA)
		}
		if len(header) == 0 {
			required, err := u.mfa.Hold(tx, p, need)
			return &answer.Auth{MFARequirement: required}, err
		}
		given, err := mfa.ParseHeader(header)
		if err != nil {
			return nil, err
		}
		if err := u.mfa.Prove(tx, need, entity, given); err != nil {
			return nil, err
		}
	}
	out, warnings, err := u.issue(tx, a.mount, p)
	env.Warnings = append(append(env.Warnings, warnings...), u.warnOfLoop(tx, a, p, out)...)
	return out, err
}

// issue makes the token of a login that has proven all it has to.
func (u *Unsealed) issue(tx *state.Tx, mount *mounts.Mounted, p *mfa.Pending) (*answer.Auth, []string, error) {
	t, id, warnings, err := u.tokens.Login(tx, &tokens.Login{
		Auth: p.Auth, Mount: mount.Info, MountType: mount.Config.TokenType, Path: p.Path, Addr: p.Addr, EntityID: p.EntityID,
	})
	if err != nil {
		return nil, nil, err
	}
	out := tokens.Auth(t, id, tx.Now())
	if p.EntityID == "" {
		return out, warnings, nil
	}
	holder, err := u.identity.Holder(tx, p.EntityID)
	if err != nil {
		return nil, nil, err
	}
	out.IdentityPolicies = holder.Policies
	out.Policies = tokens.NormalizePolicies(slices.Concat(t.Policies, holder.Policies))
	return out, warnings, nil
}

// mfaRoutes are those below sys/.
func (u *Unsealed) mfaRoutes() []engines.Route {
	return []engines.Route{{
		Pattern: "mfa/validate", Help: "Bring the second factor of a login that waits for it.", Public: true,
		Fields: []engines.Field{
			{Name: "mfa_request_id", Type: engines.String, Required: true, Secret: true, Help: "The id that the login was answered with."},
			{Name: "mfa_payload", Type: engines.Map, Required: true, Secret: true, Help: "For each method's id a list of one passcode."},
		},
		Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
			return u.validateLogin(req, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
		}}},
	}}
}

// validateLogin ends the wait of a login with its token. The rules, the mount
// and the identity count as they are now.
func (u *Unsealed) validateLogin(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	given, err := mfa.ParsePayload(req.Fields.Map("mfa_payload"))
	if err != nil {
		return nil, err
	}
	id := req.Fields.String("mfa_request_id")
	p, err := u.mfa.Held(tx, id)
	if err != nil {
		return nil, err
	}
	router, err := u.mounts.Router(tx)
	if err != nil {
		return nil, err
	}
	mount, ok := router.ByAccessor(p.Accessor)
	if !ok || mount.Class != engines.ClassAuth || p.Auth.Token.StrictlyBindIP && p.Addr != req.Caller.Addr {
		return nil, errDenied()
	}
	p.Addr = req.Caller.Addr // who gets the token must be where it may be used
	need, err := u.mfa.Needs(tx, mount.Info, p.EntityID)
	if err != nil {
		return nil, err
	}
	if need != nil {
		if err := u.mfa.Prove(tx, need, p.EntityID, given); err != nil {
			return nil, err
		}
	}
	if err := u.mfa.Release(tx, id); err != nil {
		return nil, err
	}
	out, warnings, err := u.issue(tx, mount, p)
	return &engines.Response{Data: out, Warnings: warnings}, err
}
