package core

import (
	"slices"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

// login makes the token of a caller that a way to log in vouches for.
func (u *Unsealed) login(tx *state.Tx, a *authorised, auth *engines.Auth, env *answer.Envelope) (*answer.Auth, error) {
	if a.mount.Class != engines.ClassAuth {
		return nil, engines.Errorf(engines.KindInternal, "only a way to log in can vouch for a caller")
	}
	entity, err := u.identity.Login(tx, a.mount.Info, auth)
	if err != nil {
		return nil, err
	}
	t, id, warnings, err := u.tokens.Login(tx, &tokens.Login{
		Auth: auth, Mount: a.mount.Info, MountType: a.mount.Config.TokenType, Path: a.path, Addr: a.in.Addr, EntityID: entity,
	})
	if err != nil {
		return nil, err
	}
	env.Warnings = append(env.Warnings, warnings...)
	out := tokens.Auth(t, id, tx.Now())
	if entity == "" {
		return out, nil
	}
	holder, err := u.identity.Holder(tx, entity)
	if err != nil {
		return nil, err
	}
	out.IdentityPolicies = holder.Policies
	out.Policies = tokens.NormalizePolicies(slices.Concat(t.Policies, holder.Policies))
	return out, nil
}
