package jwt

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/auth/upstream"
	"github.com/coffer-secrets/coffer/engines"
)

func errState() error {
	return engines.Invalidf("Login failed. Expired or missing OAuth state: begin the login again")
}

// arrival is a flow that goes on, and what it needs.
type arrival struct {
	flow     *flow
	provider *provider
	role     *role
	rests    rests
}

// resume finds the flow of a request's state.
func (e *engine) resume(req *engines.Request, tx engines.Tx) (*arrival, error) {
	p, err := e.providers.of(tx, req.Mount)
	if err != nil {
		return nil, err
	}
	key, err := flowKey(tx)
	if err != nil {
		return nil, err
	}
	f := openFlow(key, req.Fields.String("state"), req.Mount, req.Now)
	if f == nil || f.Config != p.version {
		return nil, errState()
	}
	used, err := tx.Get(f.row(usedDir))
	if err != nil {
		return nil, err
	}
	if used != nil {
		return nil, errState()
	}
	r, on, err := roleOf(tx, p, f.Role)
	if err != nil {
		return nil, err
	}
	if r.Flow.Mode != f.Mode || r.Type != OIDCType {
		return nil, errState()
	}
	on[f.row(usedDir)] = 0
	return &arrival{flow: f, provider: p, role: r, rests: on}, nil
}

// forClient refuses who is not the client that began the login, or may not have
// tokens of the role.
func (a *arrival) forClient(req *engines.Request, tx engines.Tx) error {
	if !a.flow.known(req.Fields.String("client_nonce")) {
		return engines.Invalidf("invalid client_nonce")
	}
	_, _, err := roleFor(req, tx, a.provider, a.flow.Role)
	return err
}

// ending is how a callback or a question ends; it stands in Request.Ahead.
type ending struct {
	verified
	flow *flow
	// page is what the browser is shown instead of a token.
	page *page
	// keep says that the outcome is for somebody else to ask for.
	keep bool
}

// receive takes what the provider answers by way of the browser.
func (e *engine) receive(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	a, err := e.resume(req, tx)
	if err != nil {
		return nil, err
	}
	posted := req.Op != engines.Read
	confirmed := posted && req.Fields.String("confirmation") != ""
	if posted && !confirmed && a.provider.ResponseMode != modeFormPost {
		return nil, engines.Errorf(engines.KindMethod, "unsupported operation")
	}
	if code := req.Fields.String("error"); code != "" {
		if !slices.Contains(codes, code) {
			code = "the provider says no, in no words that are known"
		}
		return nil, engines.Invalidf("Login failed. %s", code)
	}
	if iss := req.Fields.String("iss"); iss != "" && iss != a.provider.Issuer {
		return nil, engines.Invalidf("Login failed. The answer is another provider's")
	}
	code, token := req.Fields.String("code"), req.Fields.String("id_token")
	ends := func(page *page) (func(context.Context) (any, error), error) {
		return func(context.Context) (any, error) { return &ending{flow: a.flow, page: page}, nil }, nil
	}
	switch {
	case a.flow.Mode == modeDevice:
		return nil, errState()
	case a.flow.Mode == modeDirect && !confirmed:
		return ends(confirmPage(req, a.flow))
	case a.flow.Mode == modeDirect:
		return a.finish(req.Now, code, token, true), nil
	case posted && code != "":
		return ends(&page{Title: "Go on", Text: "Go on where you began to log in."})
	case posted:
		return a.finish(req.Now, "", token, true), nil
	}
	if err := a.forClient(req, tx); err != nil {
		return nil, err
	}
	if code == "" {
		return a.collect(tx, "Login failed. No code or id_token received.")
	}
	return a.finish(req.Now, code, "", false), nil
}

// finish verifies what came: a code to be redeemed, or the token itself.
func (a *arrival) finish(now time.Time, code, token string, keep bool) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		made, err := a.verify(ctx, now, code, token)
		if err != nil {
			return nil, err
		}
		out := &ending{verified: verified{rests: a.rests, auth: made}, flow: a.flow, keep: keep}
		if keep {
			out.page = &page{Title: "Logged in", Text: "You are logged in. You can close this window."}
		}
		return out, nil
	}
}

// collect finds the outcome of a flow that ended at the browser.
func (a *arrival) collect(tx engines.Tx, none string) (func(context.Context) (any, error), error) {
	entry, err := tx.Get(a.flow.row(doneDir))
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, engines.Invalidf("%s", none)
	}
	var o outcome
	if err := json.Unmarshal(entry.Value, &o); err != nil {
		return nil, engines.Internal(err)
	}
	if held, err := o.Rests.hold(tx); err != nil {
		return nil, err
	} else if !held {
		return nil, errState()
	}
	return func(context.Context) (any, error) {
		return &ending{verified: verified{rests: o.Rests, auth: o.Auth}, flow: a.flow}, nil
	}, nil
}

func received(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	end, ok := req.Ahead.(*ending)
	if !ok {
		return nil, engines.ErrStale
	}
	if end.auth == nil {
		return end.page.show()
	}
	// A code is good once: the work cannot be done again.
	if held, err := end.rests.hold(tx); err != nil {
		return nil, err
	} else if !held {
		return nil, errState()
	}
	if end.keep {
		if err := end.flow.keep(tx, req.Now, &end.verified); err != nil {
			return nil, err
		}
		return end.page.show()
	}
	if err := end.flow.use(tx, req.Now); err != nil {
		return nil, err
	}
	return &engines.Response{Auth: end.auth}, nil
}

// poll answers the client of a login that ends elsewhere.
func (e *engine) poll(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	a, err := e.resume(req, tx)
	if err != nil {
		return nil, err
	}
	if err := a.forClient(req, tx); err != nil {
		return nil, err
	}
	switch a.flow.Mode {
	case modeDirect:
		return a.collect(tx, "authorization_pending")
	case modeDevice:
		return a.finish(req.Now, "", "", false), nil
	}
	return nil, errState()
}

func polled(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return received(ctx, req, tx)
}

// verify gets the token, and says who it is that logged in.
func (a *arrival) verify(ctx context.Context, now time.Time, code, token string) (*engines.Auth, error) {
	access := ""
	if token == "" {
		var err error
		if token, access, err = a.redeem(ctx, now, code); err != nil {
			return nil, err
		}
	}
	claims, err := a.provider.verify(ctx, token, a.provider.Algorithms, now)
	if err != nil {
		return nil, err
	}
	if err := a.acceptID(claims, now); err != nil {
		return nil, err
	}
	if access != "" {
		if err := a.ask(ctx, now, access, claims); err != nil {
			return nil, err
		}
		if err := a.askAzure(ctx, access, claims); err != nil {
			return nil, err
		}
	}
	return a.role.auth(claims)
}

// redeem gives the provider the code of browser or device for the tokens.
func (a *arrival) redeem(ctx context.Context, now time.Time, code string) (token, access string, err error) {
	doc, err := a.provider.endpoints(ctx, now)
	if err != nil {
		return "", "", err
	}
	if doc.Token == "" {
		return "", "", engines.Errorf(engines.KindUpstream, "the provider has no token endpoint")
	}
	ctx, cfg := a.provider.asking(ctx), a.provider.oauth(doc, a.flow.Redirect)
	var got *oauth2.Token
	if a.flow.Mode == modeDevice {
		got, err = cfg.Exchange(ctx, "", oauth2.SetAuthURLParam("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
			oauth2.SetAuthURLParam("device_code", a.flow.Device))
		if code := codeOf(err); code == "authorization_pending" || code == "slow_down" {
			return "", "", engines.Invalidf("%s", code)
		}
	} else {
		if code == "" {
			return "", "", engines.Invalidf("Login failed. No code or id_token received.")
		}
		got, err = cfg.Exchange(ctx, code, oauth2.VerifierOption(a.flow.verifier()))
	}
	if err != nil {
		return "", "", providerError("Login failed. Error exchanging oidc code", err)
	}
	token, ok := got.Extra("id_token").(string)
	if !ok || token == "" {
		return "", "", engines.Invalidf("Token verification failed. No id_token found in response.")
	}
	return token, got.AccessToken, nil
}

// acceptID refuses a token that is not the provider's answer to this login
// (OpenID Connect Core, section 3.1.3.7).
func (a *arrival) acceptID(claims signed.Claims, now time.Time) error {
	p, r := a.provider, a.role
	for _, name := range []string{"sub", "exp", "iat", "aud"} {
		if _, ok := claims[name]; !ok {
			return refused(errors.New("an ID token has to have the claim \"" + name + "\""))
		}
	}
	if err := p.accept(claims, []string{p.ClientID}, r.Leeways, now); err != nil {
		return err
	}
	if len(r.Bound.Audiences) > 0 {
		if err := claims.For(r.Bound.Audiences); err != nil {
			return refused(err)
		}
	}
	audience, err := claims.Audience()
	if err != nil {
		return refused(err)
	}
	if party, ok := claims["azp"]; ok && party != p.ClientID || !ok && len(audience) > 1 {
		return refused(errors.New("the authorized party (azp) is another client"))
	}
	if a.flow.Mode != modeDevice {
		nonce, _ := claims["nonce"].(string)
		if subtle.ConstantTimeCompare([]byte(nonce), []byte(a.flow.nonce())) != 1 {
			return refused(errors.New("invalid ID token nonce"))
		}
	}
	if r.Flow.MaxAge <= 0 {
		return nil
	}
	at, err := claims.Time("auth_time")
	if err != nil {
		return refused(err)
	}
	if now.Sub(at) > r.Flow.MaxAge+r.Leeways.Skewed() {
		return refused(errors.New("the person proved who they are too long ago (auth_time, max_age)"))
	}
	return nil
}

// ask adds what the provider tells of the person beside the token, if the role
// needs it. It never replaces what the token says, and counts only if it is
// about the same subject (OpenID Connect Core, section 5.3.2). A provider that
// does not answer leaves it at the token's claims.
func (a *arrival) ask(ctx context.Context, now time.Time, access string, claims signed.Claims) error {
	if !slices.ContainsFunc(a.role.needs(), func(name string) bool { _, ok := claims.At(name); return !ok }) {
		return nil
	}
	doc, err := a.provider.endpoints(ctx, now)
	if err != nil || doc.UserInfo == "" {
		return err
	}
	var raw json.RawMessage
	failed := a.provider.client.JSON(ctx, upstream.Ask{URL: doc.UserInfo, Bearer: access}, &raw)
	more, unread := signed.ParseClaims(raw)
	if failed != nil || unread != nil {
		return ctx.Err()
	}
	if sub, ok := more["sub"].(string); !ok || sub != claims["sub"] {
		return refused(errors.New("the provider answers about another user"))
	}
	for name, value := range more {
		if _, ok := claims[name]; !ok {
			claims[name] = value
		}
	}
	return nil
}

// needs are the claims that the role reads.
func (r *role) needs() []string {
	names := append(slices.Collect(maps.Keys(r.Bound.Claims)), slices.Collect(maps.Keys(r.Mapped))...)
	if r.Groups != "" {
		names = append(names, r.Groups)
	}
	if r.User.Pointer {
		return append(names, "/"+r.User.Name)
	}
	return append(names, r.User.Name)
}
