package httpapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"golang.org/x/oauth2"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// signing is a server with people who sign in by the page, an application that asks
// who they are, and a browser.
type signing struct {
	*kit.Server
	t       *testing.T
	app     *httptest.Server
	came    []url.Values // what the application was told by way of the browser
	config  oauth2.Config
	oidc    *oidc.Provider
	browser *http.Client
	clock   *kit.Clock
}

func newSigning(t *testing.T) *signing {
	t.Helper()
	clock := kit.NewClock()
	s := &signing{Server: kit.New(t, kit.At(clock)), t: t, clock: clock}
	s.app = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s.came = append(s.came, r.URL.Query()) }))
	t.Cleanup(s.app.Close)
	s.Put("sys/auth/userpass", body{"type": "userpass"})
	for _, name := range []string{"ada", "bob"} {
		s.Put("auth/userpass/users/"+name, body{"password": "made-up-" + name})
	}
	s.Put("identity/oidc/provider/default", body{"issuer": s.URL})
	s.Put("identity/oidc/client/app", body{"redirect_uris": s.app.URL + "/cb?kept=1", "assignments": "allow_all", "key": "default"})
	made := s.Get("identity/oidc/client/app")
	var err error
	if s.oidc, err = oidc.NewProvider(t.Context(), s.URL+"/v1/identity/oidc/provider/default"); err != nil {
		t.Fatal(err)
	}
	s.config = oauth2.Config{
		ClientID: made.Text("data", "client_id"), ClientSecret: made.Text("data", "client_secret"), Endpoint: s.oidc.Endpoint(),
		RedirectURL: s.app.URL + "/cb?kept=1", Scopes: []string{"openid"},
	}
	s.reopen()
	return s
}

// reopen gives the browser no memory.
func (s *signing) reopen() {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.browser = &http.Client{Jar: jar}
}

// page is what the browser shows.
type page struct {
	*http.Response
	text string
	// token and action are those of the form, if there is one.
	token, action string
}

var (
	tokenField  = regexp.MustCompile(`name="form" value="([^"]*)"`)
	actionField = regexp.MustCompile(`action="([^"]*)"`)
	messageText = regexp.MustCompile(`role="alert">([^<]*)<`)
)

func (s *signing) do(req *http.Request) *page {
	s.t.Helper()
	resp, err := s.browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &page{Response: resp, text: string(text)}
	if found := tokenField.FindStringSubmatch(p.text); found != nil {
		p.token = html.UnescapeString(found[1])
		p.action = html.UnescapeString(actionField.FindStringSubmatch(p.text)[1])
	}
	return p
}

// message is what a page complains of.
func (p *page) message() string {
	if found := messageText.FindStringSubmatch(p.text); found != nil {
		return html.UnescapeString(found[1])
	}
	return ""
}

func (s *signing) open(at string) *page {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, at, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site") // the application has sent it
	return s.do(req)
}

// send fills in a page's form as the browser does.
func (s *signing) send(p *page, fields url.Values, header ...string) *page {
	s.t.Helper()
	form := url.Values{"form": {p.token}, "by": {"userpass"}, "mount": {"userpass"}, "passcode": {""}}
	for name, list := range fields {
		form[name] = list
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.URL+p.action, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Origin", s.URL)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return s.do(req)
}

var ada = url.Values{"name": {"ada"}, "password": {"made-up-ada"}}

// TestSignInPage is the whole way of a person through a browser, with an application
// and libraries that know nothing of Coffer.
func TestSignInPage(t *testing.T) {
	t.Parallel()
	s := newSigning(t)
	tokens := len(s.List("auth/token/accessors").Strings("data", "keys"))
	for name, fields := range map[string]url.Values{
		"with a name": ada, "with a token": {"by": {"token"}, "token": {s.Must(http.StatusOK, kit.Request{
			Method: http.MethodPut, Path: "auth/userpass/login/ada", Token: kit.NoToken, Body: body{"password": "made-up-ada"},
		}).Text("auth", "client_token")}},
	} {
		s.came = nil
		verifier := oauth2.GenerateVerifier()
		at := s.config.AuthCodeURL("st&<a>", oidc.Nonce("no"), oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("max_age", "60"))
		shown := s.open(at)
		if shown.StatusCode != http.StatusOK || shown.token == "" || !strings.Contains(shown.text, strings.TrimPrefix(s.app.URL, "http://")) {
			t.Fatalf("%s: the page: %d %s", name, shown.StatusCode, shown.text)
		}
		guarded(t, shown)
		if wrong := s.send(shown, url.Values{"name": {`ada"><b>`}, "password": {"wr0ng"}}); wrong.message() == "" || len(s.came) > 0 ||
			strings.Contains(wrong.text, "<b>") || strings.Contains(wrong.text, "wr0ng") {
			t.Errorf("%s: with a wrong password: %d %s", name, wrong.StatusCode, wrong.text)
		}
		s.send(shown, fields)
		if len(s.came) != 1 || s.came[0].Get("state") != "st&<a>" || s.came[0].Get("kept") != "1" {
			t.Fatalf("%s: the application was told %v", name, s.came)
		}
		got, err := s.config.Exchange(t.Context(), s.came[0].Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := got.Extra("id_token").(string)
		token, err := s.oidc.Verifier(&oidc.Config{ClientID: s.config.ClientID, Now: s.clock.Wall}).Verify(t.Context(), text)
		if err != nil || token.Nonce != "no" || token.Subject == "" {
			t.Errorf("%s: %v %+v", name, err, token)
		}
		if again := s.open(at); again.token == "" {
			t.Errorf("%s: the browser stays signed in: %s", name, again.text)
		}
	}
	if now := len(s.List("auth/token/accessors").Strings("data", "keys")); now != tokens+1 { // that of the test
		t.Errorf("%d tokens are left", now-tokens-1)
	}
}

// guarded checks what keeps a page from being used by others.
func guarded(t *testing.T, p *page) {
	t.Helper()
	style := p.text[strings.Index(p.text, "<style>")+len("<style>") : strings.Index(p.text, "</style>")]
	sum := sha256.Sum256([]byte(style))
	policy := p.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self' http://127.0.0.1:", "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q is without %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(p.text, "<script") || regexp.MustCompile(`\son\w+=|\sstyle=|src=|href=`).MatchString(p.text) {
		t.Errorf("the page runs or loads something: %s", p.text)
	}
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"} {
		if got := p.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if cookie := p.Header.Get("Set-Cookie"); cookie != "" && (!strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict")) {
		t.Errorf("the cookie: %s", cookie)
	}
}

// TestSignInPageTakesOwnFormsOnly: no other site signs somebody in, nor does a form
// serve for what another client asks.
func TestSignInPageTakesOwnFormsOnly(t *testing.T) {
	t.Parallel()
	s := newSigning(t)
	shown := s.open(s.config.AuthCodeURL("one"))
	other := *shown
	other.action = strings.Replace(shown.action, "state=one", "state=two", 1)
	refused := func(what string, p *page) {
		t.Helper()
		if p.StatusCode != http.StatusForbidden || !strings.Contains(p.message(), "not sent by you") || len(s.came) > 0 {
			t.Errorf("%s: %d %q", what, p.StatusCode, p.message())
		}
	}
	refused("of another site", s.send(shown, ada, "Sec-Fetch-Site", "cross-site"))
	refused("of another port", s.send(shown, ada, "Sec-Fetch-Site", "same-site"))
	refused("of another origin", s.send(shown, ada, "Sec-Fetch-Site", "", "Origin", "http://evil.example"))
	refused("of nobody", s.send(shown, ada, "Sec-Fetch-Site", "", "Origin", "null"))
	refused("for another request", s.send(&other, ada))
	refused("with no token", s.send(shown, url.Values{"form": {""}, "name": {"ada"}, "password": {"made-up-ada"}}))
	refused("that is no form", s.send(shown, ada, "Content-Type", "text/plain"))
	s.reopen()
	refused("of another browser", s.send(shown, ada))
	s.send(s.open(s.config.AuthCodeURL("one")), ada)
	if len(s.came) != 1 || s.came[0].Get("code") == "" {
		t.Errorf("its own form: %v", s.came)
	}
}

// TestSignInPageRefuses: nobody is sent to where no client of the provider is, and
// what is filled in has bounds.
func TestSignInPageRefuses(t *testing.T) {
	t.Parallel()
	s := newSigning(t)
	with := func(name, value string) string {
		return s.config.AuthCodeURL("st", oauth2.SetAuthURLParam(name, value))
	}
	for what, at := range map[string]string{
		"a script": with("redirect_uri", "javascript:alert(1)"), "data": with("redirect_uri", "data:text/html,x"), "no URI": with("redirect_uri", "//x"),
		"a policy in a host": with("redirect_uri", "https://a;script-src *"), "no scope": with("scope", ""), "without asking": with("prompt", "none"),
		"somebody in it": with("redirect_uri", "https://app.example@evil.example/"), "twice": s.config.AuthCodeURL("st") + "&state=x", "too long": with("nonce", strings.Repeat("n", 17<<10)),
	} {
		p := s.open(at)
		if p.StatusCode != http.StatusBadRequest || p.token != "" || p.message() == "" {
			t.Errorf("%s: %d %s", what, p.StatusCode, p.text)
		}
	}
	for what, at := range map[string]string{
		"another place": with("redirect_uri", "https://evil.example/cb"), "another client": with("client_id", "nosuch"), "no provider": strings.Replace(s.config.AuthCodeURL("st"), "provider/default", "provider/none", 1),
	} {
		p := s.send(s.open(at), ada)
		if p.StatusCode != http.StatusBadRequest || p.Header.Get("Location") != "" || len(s.came) > 0 || p.message() == "" {
			t.Errorf("%s: %d %s", what, p.StatusCode, p.text)
		}
	}
	shown := s.open(s.config.AuthCodeURL("st"))
	for what, fields := range map[string]url.Values{
		"a long name": {"name": {strings.Repeat("a", 513)}, "password": {"x"}}, "another field": {"name": {"ada"}, "password": {"made-up-ada"}, "role": {"x"}},
		"another engine": {"mount": {"../sys/init"}, "name": {"ada"}, "password": {"made-up-ada"}}, "a mount of dots": {"mount": {"userpass/.."}, "name": {"ada"}, "password": {"made-up-ada"}},
		"a slash": {"name": {"../../../sys/x"}, "password": {"made-up-ada"}}, "no password": {"name": {"ada"}, "password": {""}}, "no token": {"by": {"token"}, "token": {" "}},
		"no way": {"by": {"cert"}, "name": {"ada"}, "password": {"made-up-ada"}},
	} {
		if p := s.send(shown, fields); p.StatusCode != http.StatusBadRequest || p.message() == "" || len(s.came) > 0 {
			t.Errorf("%s: %d %q", what, p.StatusCode, p.message())
		}
	}
	if p := s.send(shown, url.Values{"by": {"token"}, "token": {"cfs.nobody"}}); p.StatusCode != http.StatusForbidden || len(s.came) > 0 {
		t.Errorf("with a token of nobody's: %d %q", p.StatusCode, p.message())
	}
	// Who may not use the client: it is told so.
	s.Put("identity/oidc/client/app", body{"redirect_uris": s.app.URL + "/cb?kept=1", "assignments": "", "key": "default"})
	s.send(shown, ada)
	if len(s.came) != 1 || s.came[0].Get("error") != "access_denied" || s.came[0].Get("state") != "st" || s.came[0].Get("code") != "" {
		t.Errorf("the application was told %v", s.came)
	}
	s.Put("sys/seal", nil)
	if p := s.open(s.config.AuthCodeURL("st")); p.StatusCode != http.StatusServiceUnavailable || p.token != "" {
		t.Errorf("sealed: %d %s", p.StatusCode, p.text)
	}
}

// TestSignInPageAsksForAPasscode where logins do.
func TestSignInPageAsksForAPasscode(t *testing.T) {
	t.Parallel()
	s := newSigning(t)
	entity := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/userpass/login/ada", Token: kit.NoToken, Body: body{"password": "made-up-ada"}}).Text("auth", "entity_id")
	method := s.Put("identity/mfa/method/totp", body{"issuer": "Coffer"}).Text("data", "method_id")
	key, err := otp.NewKeyFromURL(s.Put("identity/mfa/method/totp/admin-generate", body{"method_id": method, "entity_id": entity}).Text("data", "url"))
	if err != nil {
		t.Fatal(err)
	}
	s.Put("identity/mfa/login-enforcement/all", body{"mfa_method_ids": []string{method}, "auth_method_types": "userpass"})
	shown := s.open(s.config.AuthCodeURL("st"))
	if p := s.send(shown, ada); p.StatusCode != http.StatusUnauthorized || !strings.Contains(p.message(), "passcode") || !strings.Contains(p.text, `value="ada"`) {
		t.Errorf("without a passcode: %d %s", p.StatusCode, p.text)
	}
	code, err := totp.GenerateCode(key.Secret(), s.clock.Wall())
	if err != nil {
		t.Fatal(err)
	}
	if p := s.send(shown, url.Values{"name": ada["name"], "password": ada["password"], "passcode": {"x" + code}}); p.message() == "" || len(s.came) > 0 {
		t.Errorf("with a wrong passcode: %d %s", p.StatusCode, p.text)
	}
	s.send(shown, url.Values{"name": ada["name"], "password": ada["password"], "passcode": {code}})
	if len(s.came) != 1 || s.came[0].Get("code") == "" {
		t.Errorf("with the passcode: %v", s.came)
	}
}
