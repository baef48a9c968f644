package core

import (
	"context"
	"maps"
	"slices"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/direct"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

func (u *Unsealed) execute(ctx context.Context, tx *state.Tx, a *authorised) (*Outbound, error) {
	if a.in.Op == engines.Help {
		return help(a)
	}
	switch {
	case a.mount == nil || a.match.Route == nil:
		return nil, engines.Errorf(engines.KindNotFound, "no handler for route %q. route entry not found.", a.path)
	case a.op == nil:
		return nil, engines.Errorf(engines.KindMethod, "unsupported operation")
	case a.invalid != nil:
		return nil, a.invalid
	case a.dir && a.mount.Class == engines.ClassSecret && (a.in.Op == engines.Update || a.in.Op == engines.Patch):
		return nil, engines.Invalidf("cannot write to a path ending in '/'")
	}
	ctx = tokens.WithCaller(ctx, &tokens.Caller{Token: a.token, ID: a.in.Token, Sudo: a.sudo(), Header: a.in.Header})
	if a.parts != nil {
		ctx = context.WithValue(ctx, wholeKey{}, a)
	}
	req, storage := u.request(tx, a.authenticated), a.mount.Storage(tx)
	if a.op.Ahead != nil {
		if err := a.ahead.prepare(ctx, a.op, req, storage); err != nil {
			return nil, err
		}
	}
	resp, err := a.op.Handler(ctx, req, storage)
	if err != nil {
		return nil, err
	}
	missing, err := u.missingPolicies(tx, a)
	if err != nil {
		return nil, err
	}
	return u.encode(tx, a, resp, missing)
}

// sudo reports whether the caller has sudo on the path.
func (a *authenticated) sudo() bool {
	if a.acl == nil {
		return false
	}
	return a.acl.Sudo(a.policyPath)
}

func help(a *authorised) (*Outbound, error) {
	if a.mount == nil {
		return nil, engines.Errorf(engines.KindNotFound, "no handler for route %q. route entry not found.", a.path)
	}
	rest := a.path[min(len(a.path), len(a.mount.Path)):]
	data, ok := schema.Help(a.mount.Table, rest)
	if !ok && a.mount.Type == "system" {
		data, ok = direct.Help(rest)
	}
	if !ok {
		return nil, engines.NotFound()
	}
	env := &answer.Envelope{RequestID: a.in.ID, Data: data, MountType: a.mount.Type, Extra: data}
	return &Outbound{Envelope: env}, nil
}

// encode gives a response its usual form, makes the token of a login, and wraps
// the answer if that was asked for.
func (u *Unsealed) encode(tx *state.Tx, a *authorised, resp *engines.Response, warnings []string) (*Outbound, error) {
	if resp == nil {
		resp = &engines.Response{}
	}
	if resp.Grant != nil {
		return u.grant(tx, a, resp.Grant, warnings)
	}
	out := &Outbound{Raw: resp.Raw, Missing: resp.Missing, Headers: resp.Headers, then: resp.Then}
	if resp.Raw != nil {
		return out, nil
	}
	env := &answer.Envelope{RequestID: a.in.ID, Data: resp.Data, MountType: a.mount.Type}
	env.Warnings = slices.Concat(a.warnings, warnings, resp.Warnings)
	if resp.TopLevel {
		if extra, ok := resp.Data.(map[string]any); ok {
			env.Extra = maps.Clone(extra)
		}
	}
	if resp.Secret != nil {
		env.LeaseID, env.LeaseDuration, env.Renewable = resp.Secret.ID, ttlSeconds(resp.Secret.TTL), resp.Secret.Renewable
	}
	if auth, ok := resp.Data.(*answer.Auth); ok {
		env.Auth, env.Data = auth, nil
	}
	if resp.Auth != nil {
		var err error
		if env.Auth, err = u.login(tx, a, resp.Auth, env); err != nil {
			return nil, err
		}
		env.Data = nil // an answer is a login or data, never both
	}
	if info, ok := resp.Data.(*answer.Info); ok {
		env.WrapInfo, env.Data = info, nil
	}
	if env.Data == nil && env.Auth == nil && env.WrapInfo == nil && len(env.Warnings) == 0 && env.Extra == nil && env.LeaseID == "" {
		return out, nil
	}
	out.Envelope = env
	if a.in.WrapTTL == 0 || env.WrapInfo != nil || resp.Missing {
		return out, nil
	}
	return out, u.wrap(tx, a, out)
}

func (u *Unsealed) wrap(tx *state.Tx, a *authorised, out *Outbound) error {
	if a.in.WrapTTL < 0 {
		return engines.Invalidf("the wrapping TTL cannot be negative")
	}
	text, err := out.Envelope.AppendJSON(nil)
	if err != nil {
		return err
	}
	info, err := u.wrapping.Wrap(tx, text, a.path, a.in.WrapTTL)
	if err != nil {
		return err
	}
	if auth := out.Envelope.Auth; auth != nil {
		info.WrappedAccessor = auth.Accessor
	}
	out.Envelope = &answer.Envelope{RequestID: a.in.ID, WrapInfo: info, MountType: a.mount.Type}
	return nil
}
