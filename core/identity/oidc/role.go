package oidc

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Role gives identity tokens to whoever policy lets ask.
type Role struct {
	Key      string        `json:"key"`
	Template string        `json:"template,omitempty"`
	ClientID string        `json:"client_id"`
	TTL      time.Duration `json:"ttl"`
}

const (
	roleIDChars = 26
	maxClientID = 256
)

// reserved are the claims of every token, that no template may have.
func reserved() []string { return []string{"iat", "aud", "exp", "iss", "sub", "namespace"} }

func (o *OIDC) roleRoutes() []engines.Route {
	name := field("name", engines.String, "The role's name.")
	return []engines.Route{
		{Pattern: "oidc/role", Help: "List the roles.", Ops: []engines.Op{list(listNames(roleDir))}},
		{Pattern: "oidc/role/{name}", Help: "Read, write and delete a role.", Fields: []engines.Field{
			name, field("key", engines.String, "The key that signs its tokens."),
			field("template", engines.String, "Further claims, as JSON or that in base64."),
			{Name: "ttl", Type: engines.Seconds, Default: day, Help: "How long its tokens are good."},
			field("client_id", engines.String, "Who its tokens are for; made up if not given."),
		}, Ops: []engines.Op{read(o.readRole), update(o.writeRole), remove(o.deleteRole)}},
		{Pattern: "oidc/token/{name}", Help: "Get an identity token of the caller's own.", Fields: []engines.Field{name}, Ops: []engines.Op{read(o.identityToken)}},
	}
}

func (o *OIDC) readRole(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	r, err := named[Role](tx, roleDir, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"client_id": r.ClientID, "key": r.Key, "template": r.Template, "ttl": int64(r.TTL / time.Second)}), nil
}

func (o *OIDC) writeRole(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, name := req.Fields, req.Fields.String("name")
	r, err := named[Role](tx, roleDir, name)
	if err != nil {
		return nil, err
	}
	if err := checkName(tx, roleDir, name, r == nil); err != nil {
		return nil, err
	}
	if r == nil {
		r = &Role{TTL: f.Duration("ttl")}
	}
	if f.Has("key") {
		r.Key = f.String("key")
	}
	if f.Has("ttl") {
		r.TTL = f.Duration("ttl")
	}
	if f.Has("template") {
		if err := checkTemplate(f.String("template"), reserved()); err != nil {
			return nil, err
		}
		r.Template = f.String("template")
	}
	if f.Has("client_id") {
		r.ClientID = f.String("client_id")
	}
	if r.ClientID == "" {
		if r.ClientID, err = random(roleIDChars); err != nil {
			return nil, err
		}
	}
	switch {
	case r.Key == "":
		return nil, engines.Invalidf("the key parameter is required")
	case len(r.ClientID) > maxClientID || r.ClientID == anyID:
		return nil, engines.Invalidf("client_id: expected at most %d bytes", maxClientID)
	case r.TTL < time.Second:
		return nil, engines.Invalidf("ttl: expected at least one second")
	}
	k, err := usableKey(tx, r.Key)
	if err != nil {
		return nil, err
	}
	if r.TTL > k.Verification {
		return nil, engines.Invalidf("a role's token ttl cannot be longer than the verification_ttl of the key it references")
	}
	return nil, save(region(tx), roleDir+name, r, state.PutOptions{})
}

func (o *OIDC) deleteRole(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	if r, err := named[Role](tx, roleDir, name); err != nil || r == nil {
		return nil, err
	}
	return nil, region(tx).Delete(roleDir + name)
}

// identityToken answers with a token that says who the caller is.
func (o *OIDC) identityToken(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	r, err := named[Role](tx, roleDir, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.Invalidf("role %q not found", name)
	}
	k, err := keyByName(tx, r.Key)
	if err != nil {
		return nil, err
	}
	if k == nil || k.Current == nil {
		return nil, engines.Internal(nil)
	}
	if !allows(k.Allowed, r.ClientID) {
		return nil, engines.Invalidf("the key %q does not list the client ID of the role %q as an allowed client ID", r.Key, name)
	}
	if req.Caller.EntityID == "" {
		return nil, engines.Invalidf("no entity associated with the request's token")
	}
	h, err := o.Identity.Holder(tx, req.Caller.EntityID)
	if err != nil {
		return nil, err
	}
	t, err := parseTemplate(r.Template)
	if err != nil {
		return nil, err
	}
	issuer, err := o.tokenIssuer(tx)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{
		"iss": issuer, "sub": h.Entity.ID, "aud": r.ClientID, "namespace": "root",
		"iat": req.Now.Unix(), "exp": req.Now.Add(r.TTL).Unix(),
	}
	for name, value := range t.claims(h, req.Now) {
		if _, taken := claims[name]; !taken {
			claims[name] = value
		}
	}
	token, err := k.sign(claims)
	if err != nil {
		return nil, err
	}
	return data(map[string]any{"token": token, "client_id": r.ClientID, "ttl": int64(r.TTL / time.Second)}), nil
}
