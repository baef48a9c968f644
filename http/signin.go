package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// signInPath is where clients of OpenID Connect providers send browsers to.
const signInPath = "/ui/vault/identity/oidc/provider/{name}/authorize"

const (
	// maxAsked bounds what a client asks with, in bytes.
	maxAsked = 16 << 10
	// Who signs in is a name in a mount, or a token.
	byName, byToken = "userpass", "token"
)

// mountForm is the path of a mount as the page takes it.
var mountForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)

// signIn is the page on which people let a client know who they are. It logs in by
// the API, as anybody would, asks it for the code, sends the browser on with that,
// and keeps nothing: each client that asks is answered by a login of its own.
type signIn struct {
	*server
	dispatch handlerFunc
}

// asked is what a client asks for.
type asked struct {
	values   url.Values
	redirect *url.URL
}

// signingIn is what the form holds, within bounds.
type signingIn struct {
	By, Mount, Name, Password, Passcode, Token string
}

// limits are how many bytes of each field of the form are taken.
var limits = map[string]int{"by": 16, "mount": 256, "name": 512, "password": 1024, "passcode": 16, "token": maxTokenBytes, formToken: 128}

func (p *signIn) handle(ctx context.Context, r *request) (*response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		return nil, engines.Errorf(engines.KindMethod, "method %s is not allowed here", clip(r.Method))
	}
	a, err := readAsked(r.URL)
	if err != nil {
		return p.mistake(http.StatusBadRequest, err.Error())
	}
	if p.Core.Unsealed() == nil {
		return p.mistake(http.StatusServiceUnavailable, "Vault is sealed")
	}
	if r.Method != http.MethodPost {
		return p.form(r, a, http.StatusOK, signingIn{By: byName, Mount: byName}, "")
	}
	if err := new(http.CrossOriginProtection).Check(r.Request); err != nil || !ownForm(r) {
		return p.form(r, a, http.StatusForbidden, signingIn{By: byName, Mount: byName}, "The page was too old, or was not sent by you. Please sign in again.")
	}
	f, err := readForm(r)
	if err != nil {
		return p.form(r, a, http.StatusBadRequest, signingIn{By: byName, Mount: byName}, err.Error())
	}
	return p.submit(ctx, r, a, f)
}

// readAsked reads what a client asks with, before anybody is asked to sign in for it.
func readAsked(at *url.URL) (*asked, error) {
	if len(at.RawQuery) > maxAsked {
		return nil, errors.New("the request is too long")
	}
	values, err := url.ParseQuery(at.RawQuery)
	if err != nil {
		return nil, errors.New("the request is malformed")
	}
	for name, list := range values {
		if len(list) != 1 { // RFC 6749, section 3.1
			return nil, errors.New("the request has " + clip(name) + " twice")
		}
	}
	for _, name := range []string{"client_id", "redirect_uri", "response_type", "scope"} {
		if values.Get(name) == "" {
			return nil, errors.New("the request has no " + name)
		}
	}
	if values.Get("prompt") == "none" { // OpenID Connect Core, section 3.1.2.1
		return nil, errors.New("login_required: nobody stays signed in here")
	}
	redirect, err := url.Parse(values.Get("redirect_uri"))
	if err != nil || sourceOf(redirect) == "" {
		return nil, errors.New("redirect_uri is not a URI that a browser can be sent to")
	}
	return &asked{values, redirect}, nil
}

// Parts of a URI that may stand in a policy for what a form leads to.
var (
	schemeForm = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	hostForm   = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)
)

// sourceOf is a URI as a source of a Content-Security-Policy; "" for what no browser
// is sent to. Applications have schemes of their own (RFC 8252, section 7.1).
func sourceOf(u *url.URL) string {
	switch {
	case u.User != nil || u.Opaque != "" || !schemeForm.MatchString(u.Scheme):
		return ""
	case u.Scheme == "http" || u.Scheme == "https":
		if !hostForm.MatchString(u.Host) {
			return ""
		}
		return u.Scheme + "://" + u.Host
	case u.Scheme == "javascript" || u.Scheme == "data" || u.Scheme == "file" || u.Scheme == "blob" || u.Scheme == "vbscript":
		return ""
	}
	return u.Scheme + ":"
}

// readForm reads what was filled in.
func readForm(r *request) (f signingIn, err error) {
	fields := make(map[string]string)
	if err := json.Unmarshal(r.body, &fields); err != nil {
		return f, errors.New("the form is malformed")
	}
	for name, value := range fields {
		most, known := limits[name]
		if !known || len(value) > most {
			return f, errors.New("the form has a field that is too long, or that it does not have")
		}
	}
	f = signingIn{fields["by"], fields["mount"], fields["name"], fields["password"], fields["passcode"], strings.TrimSpace(fields["token"])}
	switch {
	case f.By == byToken && f.Token == "":
		return f, errors.New("there is no token")
	case f.By == byToken:
	case f.By != byName || !mountForm.MatchString(f.Mount) || strings.Contains(f.Mount, ".."):
		return f, errors.New("there is no such way to sign in")
	case f.Name == "" || f.Password == "":
		return f, errors.New("name and password are needed")
	}
	return f, nil
}

// submit signs somebody in and sends the browser on with a code.
func (p *signIn) submit(ctx context.Context, r *request, a *asked, f signingIn) (*response, error) {
	token := f.Token
	if f.By == byName {
		var refused *refusal
		if token, refused = p.login(ctx, r, f); refused != nil {
			return p.form(r, a, refused.status, f, refused.text)
		}
		// It was for this alone.
		defer func() { _ = p.call(ctx, r, http.MethodPut, "auth/token/revoke-self", token, nil, nil) }()
		a.values.Del("max_age") // whoever asks that has just signed in
	}
	var answer struct {
		Code  string `json:"code"`
		State string `json:"state"`
		Error string `json:"error"`
		Text  string `json:"error_description"`
	}
	path := "identity/oidc/provider/" + url.PathEscape(nameOf(r)) + "/authorize?" + a.values.Encode()
	if refused := p.call(ctx, r, http.MethodGet, path, token, nil, &answer); refused != nil {
		return p.form(r, a, refused.status, f, refused.text)
	}
	query := a.redirect.Query()
	switch {
	case answer.Code != "":
		query.Set("code", answer.Code)
	case answer.Error == "access_denied" || answer.Error == "invalid_scope" || answer.Error == "unsupported_response_type":
		// By then the client and where it is told are known to be right.
		query.Set("error", answer.Error)
		query.Set("error_description", answer.Text)
		answer.State = a.values.Get("state")
	default:
		return p.mistake(http.StatusBadRequest, answer.Error+": "+answer.Text)
	}
	if answer.State != "" {
		query.Set("state", answer.State)
	}
	to := *a.redirect
	to.RawQuery = query.Encode()
	return &response{status: http.StatusSeeOther, headers: map[string]string{"Location": to.String(), "Referrer-Policy": "no-referrer"}}, nil
}

// login returns a token for a name and a password, and a passcode if one is asked for.
func (p *signIn) login(ctx context.Context, r *request, f signingIn) (token string, refused *refusal) {
	type login struct {
		Auth struct {
			Token string `json:"client_token"`
			MFA   *struct {
				ID          string `json:"mfa_request_id"`
				Constraints map[string]struct {
					Any []struct {
						ID       string `json:"id"`
						Passcode bool   `json:"uses_passcode"`
					} `json:"any"`
				} `json:"mfa_constraints"`
			} `json:"mfa_requirement"`
		} `json:"auth"`
	}
	var got login
	path := "auth/" + f.Mount + "/login/" + url.PathEscape(f.Name)
	if refused := p.call(ctx, r, http.MethodPut, path, "", map[string]string{"password": f.Password}, &got); refused != nil {
		return "", refused
	}
	if got.Auth.MFA == nil || got.Auth.Token != "" {
		return got.Auth.Token, nil
	}
	if f.Passcode == "" {
		return "", &refusal{http.StatusUnauthorized, "Your login asks for a passcode too."}
	}
	payload := make(map[string][]string)
	for _, constraint := range got.Auth.MFA.Constraints {
		for _, method := range constraint.Any {
			if method.Passcode {
				payload[method.ID] = []string{f.Passcode}
				break
			}
		}
	}
	got = login{Auth: got.Auth}
	id := got.Auth.MFA.ID
	got.Auth.MFA = nil
	if refused := p.call(ctx, r, http.MethodPut, "sys/mfa/validate", "", map[string]any{"mfa_request_id": id, "mfa_payload": payload}, &got); refused != nil {
		return "", refused
	}
	return got.Auth.Token, nil
}

// refusal is how the API refuses, in words for whoever signs in.
type refusal struct {
	status int
	text   string
}

// call asks the API as the client would that signs in: from where it is, and with what
// is known of that.
func (p *signIn) call(ctx context.Context, r *request, method, path, token string, body, out any) *refusal {
	target, err := url.ParseRequestURI("/v1/" + path)
	if err != nil {
		return &refusal{http.StatusBadRequest, "That is no name."}
	}
	inner := &http.Request{
		Method: method, URL: target, RequestURI: target.RequestURI(), Host: r.Host, RemoteAddr: r.RemoteAddr, TLS: r.TLS,
		Header: make(http.Header), Body: http.NoBody,
	}
	if list := r.Header["X-Forwarded-For"]; list != nil {
		inner.Header["X-Forwarded-For"] = list
	}
	if token != "" {
		inner.Header.Set("X-Vault-Token", token)
	}
	req := &request{Request: inner.WithContext(ctx), id: newRequestID()}
	if body != nil {
		if req.body, err = json.Marshal(body); err != nil {
			return p.broken(req, err)
		}
	}
	got, err := p.dispatch(ctx, req)
	if err != nil {
		var e *engines.Error
		if !errors.As(err, &e) {
			return p.broken(req, err)
		}
		if e.Cause != nil {
			p.Logger.Debug("a login by the page failed", "request_id", req.id, "cause", e.Cause)
		}
		return &refusal{statusOf(e.Kind), strings.Join(append([]string{e.Message}, e.Details...), "; ")}
	}
	if out == nil {
		return nil
	}
	_, _, text, err := encode(got)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		return p.broken(req, err)
	}
	return nil
}

func (p *signIn) broken(r *request, cause error) *refusal {
	p.Logger.Error("a login by the page failed", "request_id", r.id, "cause", cause)
	return &refusal{http.StatusInternalServerError, "Something went wrong. Please try again."}
}
