package tokens

import (
	"context"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// engine serves auth/token on the core's tokens.
type engine struct {
	tokens *Tokens
	// missing returns those of the names that no policy has.
	missing func(tx *state.Tx, names []string) ([]string, error)
}

// Engine returns the way to log in that is there from the beginning.
// missing tells which names no policy has, to warn of them.
func Engine(t *Tokens, missing func(tx *state.Tx, names []string) ([]string, error)) *engines.Engine {
	e := &engine{tokens: t, missing: missing}
	return &engines.Engine{
		Type: "token", Class: engines.ClassAuth, Help: "The token credential backend is always enabled and builtin to Coffer.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "Create, look up, renew and revoke tokens.", Routes: e.routes()}, nil
		},
	}
}

func field(name string, typ engines.FieldType, help string) engines.Field {
	return engines.Field{Name: name, Type: typ, Help: help}
}

func createFields() []engines.Field {
	return []engines.Field{
		field("display_name", engines.String, "Name to show for the token."),
		field("entity_alias", engines.String, "Alias of the entity that the token shall belong to; the role must allow it."),
		field("explicit_max_ttl", engines.Seconds, "Longest life of the token, which renewing cannot extend."),
		{Name: "id", Type: engines.String, Help: "The token's id, for callers with sudo.", Secret: true},
		{Name: "lease", Type: engines.Seconds, Help: "Use ttl.", Deprecated: true},
		field("meta", engines.KVPairs, "Metadata kept with the token."),
		field("metadata", engines.KVPairs, "Metadata kept with the token."),
		field("no_default_policy", engines.Bool, "Do not give the policy \"default\"."),
		field("no_parent", engines.Bool, "Make an orphan, for callers with sudo."),
		field("num_uses", engines.Int, "How often the token may be used; 0 for any number."),
		field("period", engines.Seconds, "Make a periodic token, which lives for this long after each renewal."),
		field("policies", engines.Strings, "Policies of the token; those of its parent if none are given."),
		{Name: "renewable", Type: engines.Bool, Default: true, Help: "Whether the token can be renewed."},
		field("ttl", engines.Seconds, "How long the token lives."),
		field("type", engines.String, "\"service\" or \"batch\"."),
	}
}

func update(h engines.Handler) []engines.Op {
	return []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: h}}
}

func (e *engine) routes() []engines.Route {
	token := engines.Field{Name: "token", Type: engines.String, Help: "The token.", Secret: true}
	required := token
	required.Required = true
	accessor := field("accessor", engines.String, "The token's accessor.")
	increment := field("increment", engines.Seconds, "How much longer the token shall live, from now.")
	role := engines.Field{Name: "role_name", Type: engines.String, Help: "The role's name."}
	lookup := []engines.Op{
		{Do: engines.Read, Handler: e.lookup}, {Do: engines.Update, Handler: e.lookup},
	}
	return []engines.Route{
		{Pattern: "accessors", Help: "List the accessors of all tokens.", Sudo: true, Ops: []engines.Op{{Do: engines.List, Handler: e.listAccessors}}},
		{Pattern: "create", Help: "Create a token.", Fields: createFields(), Ops: update(e.create)},
		{Pattern: "create-orphan", Help: "Create a token without a parent.", Fields: createFields(), Ops: update(e.createOrphan)},
		{Pattern: "create/{role_name}", Help: "Create a token through a role.", Fields: append(createFields(), role), Ops: update(e.createWithRole)},
		{Pattern: "lookup", Help: "Tell of a token.", Fields: []engines.Field{token}, Ops: lookup},
		{Pattern: "lookup-accessor", Help: "Tell of the token with an accessor.", Fields: []engines.Field{accessor}, Ops: []engines.Op{{Do: engines.Update, Handler: e.lookupAccessor}}},
		{Pattern: "lookup-self", Help: "Tell of the caller's token.", Fields: []engines.Field{token}, Ops: []engines.Op{
			{Do: engines.Read, Handler: e.lookupSelf}, {Do: engines.Update, Handler: e.lookupSelf},
		}},
		{Pattern: "renew", Help: "Renew a token.", Fields: []engines.Field{token, increment}, Ops: update(e.renew)},
		{Pattern: "renew-accessor", Help: "Renew the token with an accessor.", Fields: []engines.Field{accessor, increment}, Ops: update(e.renewAccessor)},
		{Pattern: "renew-self", Help: "Renew the caller's token.", Fields: []engines.Field{token, increment}, Ops: update(e.renewSelf)},
		{Pattern: "revoke", Help: "Revoke a token and all below it.", Fields: []engines.Field{required}, Ops: update(e.revoke)},
		{Pattern: "revoke-accessor", Help: "Revoke the token with an accessor.", Fields: []engines.Field{accessor}, Ops: update(e.revokeAccessor)},
		{Pattern: "revoke-orphan", Help: "Revoke a token and make orphans of its children.", Fields: []engines.Field{required}, Sudo: true, Ops: update(e.revokeOrphan)},
		{Pattern: "revoke-self", Help: "Revoke the caller's token and all below it.", Ops: update(e.revokeSelf)},
		{Pattern: "roles", Help: "List the roles.", Ops: []engines.Op{{Do: engines.List, Handler: e.listRoles}}},
		{Pattern: "roles/{role_name}", Help: "Read, write and delete a role.", Fields: roleFields(role), Ops: []engines.Op{
			{Do: engines.Read, Handler: e.readRole},
			{Do: engines.Update, Trait: engines.Writes, Handler: e.writeRole, Exists: e.roleExists},
			{Do: engines.Delete, Trait: engines.Writes, Handler: e.deleteRole},
		}},
		{Pattern: "tidy", Help: "Remove what tokens have left behind.", Ops: update(e.tidy)},
	}
}

func roleFields(role engines.Field) []engines.Field {
	old := func(name string, typ engines.FieldType) engines.Field {
		return engines.Field{Name: name, Type: typ, Help: "Use token_" + name + ".", Deprecated: true}
	}
	return []engines.Field{
		role,
		field("allowed_entity_aliases", engines.Strings, "Aliases that tokens may be made for."),
		field("allowed_policies", engines.Strings, "Policies that tokens may have, and have if they name none."),
		field("allowed_policies_glob", engines.Strings, "Patterns of policies that tokens may have."),
		field("disallowed_policies", engines.Strings, "Policies that tokens may not have."),
		field("disallowed_policies_glob", engines.Strings, "Patterns of policies that tokens may not have."),
		old("bound_cidrs", engines.Strings), old("explicit_max_ttl", engines.Seconds), old("period", engines.Seconds),
		field("orphan", engines.Bool, "Make tokens without a parent."),
		field("path_suffix", engines.String, "What is added to the path that the token shows."),
		{Name: "renewable", Type: engines.Bool, Default: true, Help: "Whether tokens can be renewed."},
		field("token_bound_cidrs", engines.Strings, "Addresses that tokens may be used from."),
		field("token_explicit_max_ttl", engines.Seconds, "Longest life of a token, which renewing cannot extend."),
		field("token_no_default_policy", engines.Bool, "Do not give the policy \"default\"."),
		field("token_num_uses", engines.Int, "How often a token may be used; 0 for any number."),
		field("token_period", engines.Seconds, "Make periodic tokens, which live for this long after each renewal."),
		field("token_strictly_bind_ip", engines.Bool, "Bind a token to the address that it was made from."),
		field("token_type", engines.String, "\"service\", \"batch\", \"default-service\" or \"default-batch\"."),
	}
}

func whole(tx engines.Tx) *state.Tx {
	return tx.(*state.Region).Tx() //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
}

// named returns the token that the field names, or the caller's own.
func (e *engine) named(ctx context.Context, req *engines.Request, tx engines.Tx) (*Token, string, error) {
	caller := CallerOf(ctx)
	id := req.Fields.String("token")
	if id == "" || id == caller.ID {
		return caller.Token, caller.ID, nil
	}
	t, err := e.tokens.Find(whole(tx), id)
	if err != nil && engines.KindOf(err) == engines.KindUnauthorized {
		return nil, "", &engines.Error{Kind: engines.KindUnauthorized, Message: "bad token"}
	}
	return t, id, err
}

func (e *engine) listAccessors(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	list, err := e.tokens.Accessors(whole(tx))
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: map[string]any{"keys": list}}, nil
}

func (e *engine) lookup(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, id, err := e.named(ctx, req, tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: t.Lookup(id, req.Now)}, nil
}

func (e *engine) lookupSelf(ctx context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	caller := CallerOf(ctx)
	return &engines.Response{Data: caller.Token.Lookup(caller.ID, req.Now)}, nil
}

func (e *engine) lookupAccessor(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, err := e.tokens.FindByAccessor(whole(tx), req.Fields.String("accessor"))
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: t.Lookup("", req.Now)}, nil
}

func (e *engine) renewToken(ctx context.Context, req *engines.Request, tx engines.Tx, t *Token, id string) (*engines.Response, error) {
	t, limit, err := e.renewing(ctx, req, whole(tx), t)
	if err != nil {
		return nil, err
	}
	renewed, warning, err := e.tokens.Renew(whole(tx), t, req.Fields.Duration("increment"), limit)
	if err != nil {
		return nil, err
	}
	resp := &engines.Response{Data: Auth(renewed, id, req.Now)}
	if warning != "" {
		resp.Warnings = append(resp.Warnings, warning)
	}
	return resp, nil
}

func (e *engine) renew(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, id, err := e.named(ctx, req, tx)
	if err != nil {
		return nil, err
	}
	return e.renewToken(ctx, req, tx, t, id)
}

func (e *engine) renewSelf(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	caller := CallerOf(ctx)
	return e.renewToken(ctx, req, tx, caller.Token, caller.ID)
}

func (e *engine) renewAccessor(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, err := e.tokens.FindByAccessor(whole(tx), req.Fields.String("accessor"))
	if err != nil {
		return nil, err
	}
	return e.renewToken(ctx, req, tx, t, "")
}

func (e *engine) revoke(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, _, err := e.named(ctx, req, tx)
	if err != nil {
		if engines.KindOf(err) == engines.KindUnauthorized {
			return nil, nil // it is gone already, which is what was asked for
		}
		return nil, err
	}
	return nil, e.tokens.Revoke(whole(tx), t)
}

func (e *engine) revokeSelf(ctx context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return nil, e.tokens.Revoke(whole(tx), CallerOf(ctx).Token)
}

func (e *engine) revokeAccessor(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, err := e.tokens.FindByAccessor(whole(tx), req.Fields.String("accessor"))
	if err != nil {
		return nil, err
	}
	return nil, e.tokens.Revoke(whole(tx), t)
}

func (e *engine) revokeOrphan(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, _, err := e.named(ctx, req, tx)
	if err != nil {
		if engines.KindOf(err) == engines.KindUnauthorized {
			return nil, engines.Invalidf("token to revoke not found")
		}
		return nil, err
	}
	return nil, e.tokens.RevokeOrphan(whole(tx), t)
}

// tidy has nothing to start: what is left of tokens is removed as it falls due.
func (e *engine) tidy(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) {
	return &engines.Response{Warnings: []string{"Expired tokens and what belonged to revoked ones are removed continuously: there is nothing to start."}}, nil
}
