package jwt

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"

	"golang.org/x/oauth2"

	"github.com/coffer-secrets/coffer/engines"
)

// defaultPoll is how many seconds clients wait between two questions.
const defaultPoll = 5

func (e *engine) oidcRoutes() []engines.Route {
	query := func(name, help string) engines.Field {
		return engines.Field{Name: name, Query: true, Help: help}
	}
	hidden := func(name, help string) engines.Field {
		return engines.Field{Name: name, Query: true, Secret: true, Help: help}
	}
	nonce := engines.Field{Name: "client_nonce", Secret: true, Query: true, Help: "What only the client that began the login knows."}
	state := engines.Field{Name: "state", Secret: true, Query: true, Help: "The login's state."}
	return []engines.Route{
		{
			Pattern: "oidc/auth_url", Help: "Begin a login at the provider.", Public: true,
			Fields: []engines.Field{
				nonce,
				{Name: "redirect_uri", Help: "Where the provider sends the browser back to."},
				{Name: "role", Help: "The role to log in by; that of the configuration if empty."},
			},
			Ops: []engines.Op{{Do: engines.Update, Ahead: e.begin, Handler: begun}},
		},
		{
			Pattern: "oidc/callback", Help: "What the provider answers to a login.", Public: true,
			Fields: []engines.Field{
				nonce, state,
				hidden("code", "The code to be redeemed."),
				{Name: "id_token", Secret: true, Help: "The token itself, if the provider gives it to the browser."},
				query("error", "Why the provider refuses."),
				query("error_description", "The same for people; it is not shown."),
				query("error_uri", "Where there is more about it; it is not shown."),
				query("iss", "Which provider answers (RFC 9207)."),
				{Name: "confirmation", Help: "That the one at the browser wants the login."},
			},
			Ops: []engines.Op{
				{Do: engines.Read, Trait: engines.Writes, Ahead: e.receive, Handler: received, Help: "Finish a login with the provider's code."},
				{Do: engines.Update, Trait: engines.Writes, Ahead: e.receive, Handler: received, Help: "Take what the provider posts, or the confirmation."},
			},
		},
		{
			Pattern: "oidc/poll", Help: "Ask for the token of a login that ends elsewhere.", Public: true, Fields: []engines.Field{nonce, state},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Ahead: e.poll, Handler: polled}},
		},
	}
}

// begin prepares a login. It writes nothing: see flow.
func (e *engine) begin(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	p, err := e.providers.of(tx, req.Mount)
	if err != nil {
		return nil, err
	}
	if p.ClientID == "" {
		return nil, engines.Invalidf("OIDC login is not configured for this mount")
	}
	r, _, err := e.role(req, tx, p)
	if err != nil {
		return nil, err
	}
	if r.Type != OIDCType {
		return nil, engines.Invalidf("role with jwt role_type cannot log in at a provider")
	}
	key, err := flowKey(tx)
	if err != nil {
		return nil, err
	}
	f := newFlow(key, req.Now)
	f.Mode, f.Role, f.Config = r.Flow.Mode, r.Name, p.version
	if req.Caller.Addr.IsValid() {
		f.Addr = req.Caller.Addr.String()
	}
	clientNonce := req.Fields.String("client_nonce")
	if clientNonce == "" && f.Mode != modeClient {
		return nil, engines.Invalidf("missing client_nonce")
	}
	f.Nonce = hashNonce(clientNonce)
	if f.Mode != modeDevice {
		if f.Redirect, err = r.redirect(req.Fields.String("redirect_uri")); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (any, error) {
		doc, err := p.endpoints(ctx, req.Now)
		if err != nil {
			return nil, err
		}
		if f.Mode == modeDevice {
			return p.beginDevice(ctx, doc, r, f, req.Mount)
		}
		return p.beginBrowser(doc, r, f, req.Mount)
	}, nil
}

func begun(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	return &engines.Response{Data: req.Ahead}, nil
}

// redirect is where a browser is sent back to, if the role allows it.
func (r *role) redirect(text string) (string, error) {
	if text == "" {
		return "", engines.Invalidf("missing redirect_uri")
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > maxTextBytes || !isRedirect(text) {
		return "", engines.Invalidf("unauthorized redirect_uri")
	}
	if slices.Contains(r.Flow.Redirects, text) {
		return text, nil
	}
	// An application on the browser's machine listens where there is room
	// (RFC 8252, section 7.3).
	if host := u.Hostname(); host == "localhost" || host == "127.0.0.1" || host == "::1" {
		for _, allowed := range r.Flow.Redirects {
			if a, err := url.Parse(allowed); err == nil && a.Hostname() == host && portless(a) == portless(u) {
				return text, nil
			}
		}
	}
	return "", engines.Invalidf("unauthorized redirect_uri: it is none of the role's allowed_redirect_uris")
}

func portless(u *url.URL) string {
	without := *u
	without.Host = u.Hostname()
	return without.String()
}

// scopes are those to ask for.
func (r *role) scopes() []string { return append([]string{"openid"}, r.Flow.Scopes...) }

func (p *provider) beginBrowser(doc *discovery, r *role, f *flow, mount engines.Mount) (any, error) {
	if doc.Auth == "" {
		return nil, engines.Errorf(engines.KindUpstream, "the provider has no authorization endpoint")
	}
	state, err := f.seal(mount)
	if err != nil {
		return nil, err
	}
	cfg := p.oauth(doc, f.Redirect)
	cfg.Scopes = r.scopes()
	options := []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("nonce", f.nonce())}
	if p.implicit() {
		options = append(options, oauth2.SetAuthURLParam("response_type", typeIDToken))
	} else {
		options = append(options, oauth2.S256ChallengeOption(f.verifier()))
	}
	if p.ResponseMode == modeFormPost {
		options = append(options, oauth2.SetAuthURLParam("response_mode", modeFormPost))
	}
	if r.Flow.MaxAge > 0 {
		options = append(options, oauth2.SetAuthURLParam("max_age", strconv.FormatInt(int64(r.Flow.MaxAge.Seconds()), 10)))
	}
	out := map[string]any{"auth_url": cfg.AuthCodeURL(state, options...)}
	if f.Mode == modeDirect {
		out["state"], out["user_code"], out["poll_interval"] = state, f.userCode(), r.pollInterval(0)
	}
	return out, nil
}

// pollInterval is the role's, or the provider's.
func (r *role) pollInterval(provider int64) string {
	interval := r.Flow.Poll
	if interval == 0 {
		interval = provider
	}
	if interval <= 0 {
		interval = defaultPoll
	}
	return strconv.FormatInt(interval, 10)
}

// beginDevice asks the provider for a code that a person enters there
// (RFC 8628).
func (p *provider) beginDevice(ctx context.Context, doc *discovery, r *role, f *flow, mount engines.Mount) (any, error) {
	if doc.Device == "" {
		return nil, engines.Errorf(engines.KindUpstream, "the provider has no endpoint for devices")
	}
	cfg := p.oauth(doc, "")
	cfg.Scopes = r.scopes()
	var options []oauth2.AuthCodeOption
	if p.ClientSecret != "" {
		options = append(options, oauth2.SetAuthURLParam("client_secret", p.ClientSecret))
	}
	code, err := cfg.DeviceAuth(p.asking(ctx), options...)
	if err != nil {
		return nil, providerError("Error authorizing the device", err)
	}
	if f.Device = code.DeviceCode; f.Device == "" || len(f.Device) > maxTextBytes {
		return nil, engines.Errorf(engines.KindUpstream, "the provider gives no usable code for the device")
	}
	state, err := f.seal(mount)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"auth_url": code.VerificationURIComplete, "state": state, "poll_interval": r.pollInterval(code.Interval)}
	if code.VerificationURIComplete == "" {
		out["auth_url"], out["user_code"] = code.VerificationURI, code.UserCode
	}
	return out, nil
}

// codes are what a provider may say of a failure, by RFC 6749, RFC 8628 and
// OpenID Connect. What it says besides is not passed on.
var codes = []string{
	"access_denied", "authorization_pending", "consent_required", "expired_token", "interaction_required", "invalid_client", "invalid_grant",
	"invalid_request", "invalid_scope", "login_required", "server_error", "slow_down", "temporarily_unavailable", "unauthorized_client",
	"unsupported_grant_type", "unsupported_response_type",
}

// codeOf is what a provider says of a failure; empty if it is nothing known.
func codeOf(err error) string {
	var refusal *oauth2.RetrieveError
	if errors.As(err, &refusal) && slices.Contains(codes, refusal.ErrorCode) {
		return refusal.ErrorCode
	}
	return ""
}

// providerError tells that a provider refused or failed. The library's text
// repeats the provider's whole answer, so it goes nowhere.
func providerError(what string, err error) error {
	if code := codeOf(err); code != "" {
		return engines.Invalidf("%s: %s", what, code)
	}
	var refusal *oauth2.RetrieveError
	var wrapped *url.Error
	cause := errors.New("the answer cannot be used")
	switch {
	case errors.As(err, &refusal) && refusal.Response != nil:
		cause = errors.New("answered with status " + strconv.Itoa(refusal.Response.StatusCode))
	case errors.As(err, &wrapped):
		cause = wrapped.Err
	}
	return &engines.Error{Kind: engines.KindUpstream, Message: what + ": the provider cannot be asked", Cause: cause}
}
