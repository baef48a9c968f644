package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
)

// token is the token endpoint (RFC 6749, section 3.2).
func (o *OIDC) token(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	p, err := providerByName(tx, name)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return bad("invalid_request", "provider not found").response()
	}
	c, failed, err := proven(ctx, req, tx)
	switch {
	case err != nil:
		return nil, err
	case failed != nil:
		return failed.response()
	case !allows(p.Allowed, c.ID):
		return bad("invalid_client", "client is not authorized to use the provider").response()
	}
	var g *grant
	var h *identity.Holder
	switch req.Fields.String("grant_type") {
	case "authorization_code":
		g, h, failed, err = o.redeem(req, tx, c)
	case "client_credentials":
		g, failed = own(req, p, c)
	case "":
		failed = bad("invalid_request", "grant_type parameter is required")
	default:
		failed = bad("unsupported_grant_type", "unsupported grant_type value")
	}
	switch {
	case err != nil:
		return nil, err
	case failed != nil:
		return failed.response()
	}
	return o.tokensOf(tx, o.issuerOf(p, name), c, g, h)
}

// proven returns the client that a request comes from, which a confidential one
// proves with its secret.
func proven(ctx context.Context, req *engines.Request, tx *state.Tx) (*Client, *oauthError, error) {
	refused := &oauthError{status: 401, code: "invalid_client", text: "client failed to authenticate", header: `Basic realm="coffer"`}
	id, secret := req.Fields.String("client_id"), req.Fields.String("client_secret")
	if header := tokens.CallerOf(ctx).Header; header != nil {
		for _, value := range header("Authorization") {
			basicID, basicSecret, ok := basic(value)
			if !ok || secret != "" || id != "" && id != basicID { // one way to prove oneself at a time
				return nil, refused, nil
			}
			id, secret = basicID, basicSecret
		}
	}
	c, err := clientByID(tx, id)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return nil, refused, nil
	}
	if c.Type == public {
		if secret != "" {
			return nil, refused, nil
		}
		return c, nil, nil
	}
	if c.Secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) != 1 {
		return nil, refused, nil
	}
	return c, nil, nil
}

// basic reads the credentials of a header, each of which is form-encoded (RFC
// 6749, section 2.3.1).
func basic(header string) (id, secret string, ok bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(plain), ":")
	if !ok {
		return "", "", false
	}
	var errID, errSecret error
	id, errID = url.QueryUnescape(id)
	secret, errSecret = url.QueryUnescape(secret)
	return id, secret, errID == nil && errSecret == nil
}

// redeem ends a code. Whoever brings it has one try: also one that fails ends
// it, if it is of the client.
func (o *OIDC) redeem(req *engines.Request, tx *state.Tx, c *Client) (*grant, *identity.Holder, *oauthError, error) {
	f := req.Fields
	refused := func(text string) *oauthError { return bad("invalid_grant", text) }
	code := f.String("code")
	if code == "" {
		return nil, nil, bad("invalid_request", "code parameter is required"), nil
	}
	g, err := granted(tx, codeDir, code)
	if err != nil {
		return nil, nil, nil, err
	}
	if g == nil || g.Client != c.ID {
		return nil, nil, refused("authorization grant is invalid or expired"), nil
	}
	if err := passing(tx).Delete(codeDir + hashed(code)); err != nil {
		return nil, nil, nil, err
	}
	switch {
	case g.Provider != f.String("name"):
		return nil, nil, refused("authorization code was not issued by the provider"), nil
	case g.Redirect != f.String("redirect_uri"):
		return nil, nil, refused("redirect_uri does not match the redirect_uri used in the authorization request"), nil
	case !g.answers(f.String("code_verifier")):
		return nil, nil, refused("invalid code_verifier for authorization code"), nil
	case !c.Code:
		return nil, nil, bad("unauthorized_client", "the client may not use codes"), nil
	}
	h, err := o.person(tx, c, g.Entity)
	if err == nil && h == nil {
		return nil, nil, refused("identity entity not authorized by client assignment"), nil
	}
	return g, h, nil, err
}

// own is what a client may know of itself.
func own(req *engines.Request, p *Provider, c *Client) (*grant, *oauthError) {
	if c.Type != confidential || !c.Credentials {
		return nil, bad("unauthorized_client", "the client may not use its own credentials")
	}
	scopes, _ := p.scopesOf(req.Fields.String("scope"))
	return &grant{Provider: req.Fields.String("name"), Client: c.ID, Scopes: scopes}, nil
}

// tokensOf makes the tokens of a grant. Without a person the client is the
// subject.
func (o *OIDC) tokensOf(tx *state.Tx, issuer string, c *Client, g *grant, h *identity.Holder) (*engines.Response, error) {
	k, err := keyByName(tx, c.Key)
	if err != nil {
		return nil, err
	}
	if k == nil || !allows(k.Allowed, c.ID) {
		return bad("unauthorized_client", "client is not authorized to use the key").response()
	}
	claims, ok, err := g.claims(tx, h)
	if err != nil {
		return nil, err
	}
	if !ok {
		return bad("invalid_scope", "scopes with conflicting claims were requested").response()
	}
	access, hash := secretToken(accessPrefix)
	kept := &grant{Provider: g.Provider, Client: g.Client, Entity: g.Entity, Scopes: g.Scopes}
	if err := keep(tx, accessDir, hash, kept, c.AccessTTL); err != nil {
		return nil, err
	}
	now := tx.Now()
	for name, value := range map[string]any{
		"iss": issuer, "sub": g.subject(), "aud": c.ID, "namespace": "root", "iat": now.Unix(), "exp": now.Add(c.IDTTL).Unix(),
		"at_hash": k.halfHash(access),
	} {
		claims[name] = value
	}
	if g.Nonce != "" {
		claims["nonce"] = g.Nonce
	}
	if g.AuthTime != 0 {
		claims["auth_time"] = g.AuthTime
	}
	token, err := k.sign(claims)
	if err != nil {
		return nil, err
	}
	resp, err := raw(200, map[string]any{
		"token_type": "Bearer", "access_token": access, "id_token": token, "expires_in": int64(c.AccessTTL / time.Second),
	})
	if err == nil {
		resp.Headers = map[string]string{"Pragma": "no-cache"}
	}
	return resp, err
}

func (g *grant) subject() string {
	if g.Entity == "" {
		return g.Client
	}
	return g.Entity
}

// userInfo tells what an access token lets its client know.
func (o *OIDC) userInfo(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	refused := &oauthError{status: 401, code: "invalid_token", text: "access token is invalid or expired", header: `Bearer error="invalid_token"`}
	token := tokens.CallerOf(ctx).ID
	if !strings.HasPrefix(token, accessPrefix) {
		return refused.response()
	}
	g, err := granted(tx, accessDir, token)
	if err != nil {
		return nil, err
	}
	name := req.Fields.String("name")
	if g == nil || g.Provider != name {
		return refused.response()
	}
	p, err := providerByName(tx, name)
	if err != nil {
		return nil, err
	}
	c, err := clientByID(tx, g.Client)
	if err != nil {
		return nil, err
	}
	if p == nil || c == nil || !allows(p.Allowed, c.ID) {
		return refused.response()
	}
	var h *identity.Holder
	if g.Entity != "" {
		if h, err = o.person(tx, c, g.Entity); err != nil {
			return nil, err
		}
		if h == nil {
			return refused.response()
		}
	}
	claims, ok, err := g.claims(tx, h)
	if err != nil {
		return nil, err
	}
	if !ok {
		return bad("invalid_scope", "scopes with conflicting claims were requested").response()
	}
	claims["sub"] = g.subject()
	return raw(200, claims)
}
