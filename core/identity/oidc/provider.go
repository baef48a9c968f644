package oidc

import (
	"context"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Scope is a set of claims that clients may ask for.
type Scope struct {
	Description string `json:"description,omitempty"`
	Template    string `json:"template,omitempty"`
}

// Provider is one issuer to clients.
type Provider struct {
	Issuer  string   `json:"issuer,omitempty"`
	Allowed []string `json:"allowed,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`
}

func reservedInScopes() []string {
	return append(reserved(), "nonce", "auth_time", "at_hash", "c_hash")
}

func (o *OIDC) scopeRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "oidc/scope", Help: "List the scopes.", Ops: []engines.Op{list(listNames(scopeDir))}},
		{Pattern: "oidc/scope/{name}", Help: "Read, write and delete a scope.", Fields: []engines.Field{
			field("name", engines.String, "The scope's name."), field("template", engines.String, "Its claims, as JSON or that in base64."),
			field("description", engines.String, "What it is for."),
		}, Ops: []engines.Op{read(o.readScope), update(o.writeScope), remove(o.deleteScope)}},
	}
}

func (o *OIDC) providerRoutes() []engines.Route {
	name := field("name", engines.String, "The provider's name.")
	return []engines.Route{
		{Pattern: "oidc/provider", Help: "List the providers.", Fields: []engines.Field{
			field("allowed_client_id", engines.String, "List only those that allow a client."),
		}, Ops: []engines.Op{list(o.listProviders)}},
		{Pattern: "oidc/provider/{name}", Help: "Read, write and delete a provider.", Fields: []engines.Field{
			name, field("issuer", engines.String, "Scheme, host and port of the issuer's URL; the cluster's API address if empty."),
			field("allowed_client_ids", engines.Strings, "Ids of the clients that may use it, or \"*\"."),
			field("scopes_supported", engines.Strings, "Names of the scopes that clients may ask for."),
		}, Ops: []engines.Op{read(o.readProvider), update(o.writeProvider), remove(o.deleteProvider)}},
		{Pattern: "oidc/provider/{name}/.well-known/openid-configuration", Help: "Describe the provider.", Public: true, Fields: []engines.Field{name}, Ops: []engines.Op{read(o.describeProvider)}},
		{Pattern: "oidc/provider/{name}/.well-known/keys", Help: "Publish the provider's keys.", Public: true, Fields: []engines.Field{name}, Ops: []engines.Op{read(o.publishClientKeys)}},
	}
}

func (o *OIDC) readScope(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	s, err := named[Scope](tx, scopeDir, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"template": s.Template, "description": s.Description}), nil
}

func (o *OIDC) writeScope(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, name := req.Fields, req.Fields.String("name")
	if name == openID {
		return nil, engines.Invalidf("the %q scope name is reserved", name)
	}
	s, err := named[Scope](tx, scopeDir, name)
	if err != nil {
		return nil, err
	}
	if err := checkName(tx, scopeDir, name, s == nil); err != nil {
		return nil, err
	}
	if s == nil {
		s = new(Scope)
	}
	if f.Has("description") {
		if s.Description = f.String("description"); len(s.Description) > maxText {
			return nil, engines.Invalidf("description: longer than %d bytes", maxText)
		}
	}
	if f.Has("template") {
		s.Template = f.String("template")
		if err := checkTemplate(s.Template, reservedInScopes()); err != nil {
			return nil, err
		}
	}
	return nil, save(region(tx), scopeDir+name, s, state.PutOptions{})
}

func (o *OIDC) deleteScope(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	providers, err := all[Provider](tx, providerDir)
	if err != nil {
		return nil, err
	}
	for provider, p := range providers {
		if slices.Contains(p.Scopes, name) {
			return nil, engines.Invalidf("unable to delete scope %q because it is currently referenced by these providers: %s", name, provider)
		}
	}
	if s, err := named[Scope](tx, scopeDir, name); err != nil || s == nil {
		return nil, err
	}
	return nil, region(tx).Delete(scopeDir + name)
}

// providerByName returns a provider, or nil. The default one is always there.
func providerByName(tx *state.Tx, name string) (*Provider, error) {
	p, err := named[Provider](tx, providerDir, name)
	if err == nil && p == nil && name == defaultName {
		p = &Provider{Allowed: []string{anyID}}
	}
	return p, err
}

func (o *OIDC) issuerOf(p *Provider, name string) string {
	return o.below(p.Issuer, "identity/oidc/provider/"+name)
}

func (o *OIDC) showProvider(p *Provider, name string) map[string]any {
	return map[string]any{
		"issuer": o.issuerOf(p, name), "allowed_client_ids": texts(p.Allowed), "scopes_supported": texts(p.Scopes),
	}
}

func (o *OIDC) readProvider(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	p, err := providerByName(tx, name)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, engines.NotFound()
	}
	return data(o.showProvider(p, name)), nil
}

func (o *OIDC) listProviders(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	providers, err := all[Provider](tx, providerDir)
	if err != nil {
		return nil, err
	}
	if providers[defaultName] == nil {
		if providers[defaultName], err = providerByName(tx, defaultName); err != nil {
			return nil, err
		}
	}
	var names []string
	infos := make(map[string]any, len(providers))
	for name, p := range providers {
		if id := req.Fields.String("allowed_client_id"); id == "" || allows(p.Allowed, id) {
			names, infos[name] = append(names, name), o.showProvider(p, name)
		}
	}
	if slices.Sort(names); len(names) == 0 {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"keys": names, "key_info": infos}), nil
}

func (o *OIDC) writeProvider(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, name := req.Fields, req.Fields.String("name")
	p, err := providerByName(tx, name)
	if err != nil {
		return nil, err
	}
	if err := checkName(tx, providerDir, name, p == nil); err != nil {
		return nil, err
	}
	if p == nil {
		p = new(Provider)
	}
	if f.Has("issuer") {
		p.Issuer = f.String("issuer")
		if err := checkIssuer(p.Issuer); err != nil {
			return nil, err
		}
	}
	if f.Has("allowed_client_ids") {
		if p.Allowed, err = clean("allowed_client_ids", f.Strings("allowed_client_ids")); err != nil {
			return nil, err
		}
	}
	if f.Has("scopes_supported") {
		if p.Scopes, err = clean("scopes_supported", f.Strings("scopes_supported")); err != nil {
			return nil, err
		}
	}
	warnings, err := checkScopes(tx, p.Scopes)
	if err != nil {
		return nil, err
	}
	if err := save(region(tx), providerDir+name, p, state.PutOptions{}); err != nil || len(warnings) == 0 {
		return nil, err
	}
	return &engines.Response{Warnings: warnings}, nil
}

// checkScopes wants scopes to be there, and warns of two with the same claim.
func checkScopes(tx *state.Tx, names []string) (warnings []string, err error) {
	owner := make(map[string]string)
	for _, name := range names {
		if name == openID {
			return nil, engines.Invalidf("%q is supported by every provider and need not be named", openID)
		}
		s, err := named[Scope](tx, scopeDir, name)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, engines.Invalidf("scope %q does not exist", name)
		}
		t, err := parseTemplate(s.Template)
		if err != nil {
			return nil, err
		}
		for claim := range t.tree {
			if other, ok := owner[claim]; ok {
				warnings = append(warnings, "found scope templates with conflicting top-level keys: conflict "+claim+" in scopes "+other+", "+name+". This may result in an error if the scopes are requested in an OIDC Authentication Request.")
			}
			owner[claim] = name
		}
	}
	slices.Sort(warnings)
	return warnings, nil
}

func (o *OIDC) deleteProvider(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	if name == defaultName {
		return nil, engines.Invalidf("deletion of OIDC provider %q not allowed", name)
	}
	if p, err := providerByName(tx, name); err != nil || p == nil {
		return nil, err
	}
	return nil, region(tx).Delete(providerDir + name)
}

func (o *OIDC) describeProvider(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	p, err := providerByName(tx, name)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, engines.NotFound()
	}
	issuer := o.issuerOf(p, name)
	return raw(200, map[string]any{
		"issuer": issuer, "jwks_uri": issuer + "/.well-known/keys", "authorization_endpoint": o.at(p.Issuer) + "/ui/vault/identity/oidc/provider/" + name + "/authorize",
		"token_endpoint": issuer + "/token", "userinfo_endpoint": issuer + "/userinfo",
		"request_parameter_supported": false, "request_uri_parameter_supported": false,
		"id_token_signing_alg_values_supported": algorithms(), "response_types_supported": []string{"code"},
		"scopes_supported": append(slices.Clone(p.Scopes), openID), "subject_types_supported": []string{"public"},
		"grant_types_supported":                 []string{"authorization_code", "client_credentials"},
		"token_endpoint_auth_methods_supported": []string{"none", "client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":      []string{"plain", "S256"},
	})
}

func (o *OIDC) publishClientKeys(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	p, err := providerByName(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, engines.NotFound()
	}
	clients, err := all[Client](tx, clientDir)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for _, c := range clients {
		if allows(p.Allowed, c.ID) {
			names[c.Key] = true
		}
	}
	return keySet(tx, names)
}

// scopesOf are those of what a client asks for that the provider supports.
// Others are left out, as OpenID Connect wants it.
func (p *Provider) scopesOf(asked string) (scopes []string, open bool) {
	for _, name := range strings.Fields(asked) {
		switch {
		case name == openID:
			open = true
		case slices.Contains(p.Scopes, name) && !slices.Contains(scopes, name):
			scopes = append(scopes, name)
		}
	}
	return scopes, open
}
