package oidc

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

// authorize answers with a code for the client, which lets it know who the
// caller is.
func (o *OIDC) authorize(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, name := req.Fields, req.Fields.String("name")
	p, err := providerByName(tx, name)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return bad("invalid_request", "provider not found").response()
	}
	c, failed, err := asking(req, tx, p)
	if err != nil {
		return nil, err
	}
	if failed != nil {
		return failed.response()
	}
	g := &grant{
		Provider: name, Client: c.ID, Entity: req.Caller.EntityID, Nonce: f.String("nonce"), Redirect: f.String("redirect_uri"),
		Challenge: f.String("code_challenge"), Method: f.String("code_challenge_method"),
	}
	var open bool
	if g.Scopes, open = p.scopesOf(f.String("scope")); !open {
		return bad("invalid_request", "scope parameter must contain the openid scope").response()
	}
	if failed := g.challenged(c); failed != nil {
		return failed.response()
	}
	if g.Entity == "" {
		return bad("access_denied", "identity entity must be associated with the request").response()
	}
	h, err := o.person(tx, c, g.Entity)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return bad("access_denied", "identity entity not authorized by client assignment").response()
	}
	if _, ok, err := g.claims(tx, h); err != nil {
		return nil, err
	} else if !ok {
		return bad("invalid_scope", "scopes with conflicting claims were requested").response()
	}
	if failed := g.fresh(ctx, req); failed != nil {
		return failed.response()
	}
	code, hash := secretToken("")
	if err := keep(tx, codeDir, hash, g, codeTTL); err != nil {
		return nil, err
	}
	answer := map[string]any{"code": code}
	if text := f.String("state"); text != "" {
		answer["state"] = text
	}
	return raw(200, answer)
}

// asking returns the client that a request names, if it may ask as it does.
func asking(req *engines.Request, tx *state.Tx, p *Provider) (*Client, *oauthError, error) {
	f := req.Fields
	for _, name := range []string{"state", "nonce", "code_challenge", "redirect_uri", "scope"} {
		if len(f.String(name)) > maxText {
			return nil, bad("invalid_request", name+" is too long"), nil
		}
	}
	c, err := clientByID(tx, f.String("client_id"))
	switch {
	case err != nil:
		return nil, nil, err
	case c == nil:
		return nil, bad("invalid_client_id", "client with this client_id not found"), nil
	case !allows(p.Allowed, c.ID):
		return nil, bad("unauthorized_client", "client is not authorized to use the provider"), nil
	case !c.redirects(f.String("redirect_uri")):
		return nil, bad("invalid_redirect_uri", "redirect_uri is not allowed for the client"), nil
	case !c.Code:
		return nil, bad("unauthorized_client", "the client may not use codes"), nil
	case f.String("response_type") != "code":
		return nil, bad("unsupported_response_type", "unsupported response_type: expected code"), nil
	}
	k, err := keyByName(tx, c.Key)
	if err != nil {
		return nil, nil, err
	}
	if k == nil || !allows(k.Allowed, c.ID) {
		return nil, bad("unauthorized_client", "client is not authorized to use the key"), nil
	}
	return c, nil, nil
}

// challenged checks the challenge (RFC 7636), without which a public client gets
// no code.
func (g *grant) challenged(c *Client) *oauthError {
	switch {
	case g.Challenge == "" && c.Type == public:
		return bad("invalid_request", "PKCE is required for public clients")
	case g.Challenge == "":
		g.Method = ""
		return nil
	case g.Method != "plain" && g.Method != "S256":
		return bad("invalid_request", "invalid code_challenge_method: expected plain or S256")
	case !verifierForm.MatchString(g.Challenge):
		return bad("invalid_request", "invalid code_challenge: expected 43 to 128 unreserved characters")
	}
	return nil
}

// fresh notes when the caller logged in, and refuses a login that is too old for
// the client.
func (g *grant) fresh(ctx context.Context, req *engines.Request) *oauthError {
	token := tokens.CallerOf(ctx).Token
	if token == nil {
		return bad("access_denied", "the caller has no token")
	}
	g.AuthTime = token.Created.Unix()
	if !req.Fields.Has("max_age") {
		return nil
	}
	limit := req.Fields.Int("max_age")
	if limit < 0 {
		return bad("invalid_request", "invalid max_age")
	}
	if int64(req.Now.Sub(token.Created)/time.Second) > limit || limit == 0 {
		return bad("max_age_violation", "active re-authentication is required by max_age")
	}
	return nil
}
