package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestCodeFlow is the whole flow with libraries that know nothing of Coffer.
func TestCodeFlow(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("identity/oidc/scope/profile", body{"template": `{"user": {{identity.entity.aliases.` + s.accessor + `.name}}, "at": {{time.now}}}`})
	s.Put(provider, body{"scopes_supported": "profile"})
	a := s.client("app", body{"key": "default"})
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		p, err := oidc.NewProvider(t.Context(), s.URL+"/v1/"+provider)
		if err != nil {
			t.Fatal(err)
		}
		endpoint := p.Endpoint()
		endpoint.AuthStyle = style
		config := oauth2.Config{ClientID: a.id, ClientSecret: a.secret, Endpoint: endpoint, RedirectURL: redirect, Scopes: []string{"openid", "profile", "other"}}
		verifier := oauth2.GenerateVerifier()
		asked, err := url.Parse(config.AuthCodeURL("st", oidc.Nonce("no"), oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("max_age", "60")))
		if err != nil {
			t.Fatal(err)
		}
		s.login("alice")
		r := s.Must(http.StatusOK, kit.Request{Path: provider + "/authorize?" + asked.RawQuery, Token: s.tokens["alice"]})
		if r.Text("state") != "st" {
			t.Errorf("state %s", r.Raw)
		}
		got, err := config.Exchange(t.Context(), r.Text("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := got.Extra("id_token").(string)
		token, err := p.Verifier(&oidc.Config{ClientID: a.id, Now: s.clock.Wall}).Verify(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		if err := token.VerifyAccessToken(got.AccessToken); err != nil || token.Nonce != "no" || token.Subject != s.entities["alice"] {
			t.Errorf("%v %+v", err, token)
		}
		var claims struct {
			User     string `json:"user"`
			AuthTime int64  `json:"auth_time"`
		}
		if err := token.Claims(&claims); err != nil || claims.User != "alice" || claims.AuthTime == 0 {
			t.Errorf("%v %+v", err, claims)
		}
		info, err := p.UserInfo(t.Context(), oauth2.StaticTokenSource(got))
		if err != nil {
			t.Fatal(err)
		}
		if err := info.Claims(&claims); err != nil || info.Subject != s.entities["alice"] || claims.User != "alice" {
			t.Errorf("%v %+v", err, info)
		}
		if _, err := config.Exchange(t.Context(), r.Text("code"), oauth2.VerifierOption(verifier)); err == nil {
			t.Error("the code was good twice")
		}
	}
}

// TestOneCodeRaced: of many that redeem a code at once, one wins.
func TestOneCodeRaced(t *testing.T) {
	t.Parallel()
	s := started(t)
	a := s.client("app", nil)
	code := s.code("alice", a.query())
	var won atomic.Int64
	var all sync.WaitGroup
	for range 24 {
		all.Go(func() {
			if r := s.redeem(a, code); r.Status == http.StatusOK {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d had tokens of one code", won.Load())
	}
}

// TestCodesRefused: a code is for one client, one redirect and one verifier, for
// five minutes; and one try ends it.
func TestCodesRefused(t *testing.T) {
	t.Parallel()
	s := started(t)
	a, b := s.client("a", nil), s.client("b", nil)
	plain, challenge := verifier(t)
	asked := a.query("code_challenge="+challenge, "code_challenge_method=S256")
	code := s.code("alice", asked)
	refused(t, s.redeem(b, code, "code_verifier="+plain), http.StatusBadRequest, "invalid_grant")
	refused(t, s.redeem(app{a.id, b.secret}, code, "code_verifier="+plain), http.StatusUnauthorized, "invalid_client")
	refused(t, s.redeem(app{a.id, ""}, code, "code_verifier="+plain), http.StatusUnauthorized, "invalid_client")
	if r := s.redeem(a, code, "code_verifier="+plain); r.Status != http.StatusOK {
		t.Errorf("others ended the code: %s", r.Raw)
	}
	for _, more := range [][]string{
		{}, {"code_verifier="}, {"code_verifier=" + challenge}, {"code_verifier=" + plain + "x"}, {"code_verifier=" + plain, "redirect_uri=https://evil.example/"},
		{"code_verifier=" + plain, "redirect_uri="},
	} {
		code := s.code("alice", asked)
		refused(t, s.redeem(a, code, more...), http.StatusBadRequest, "invalid_grant")
		refused(t, s.redeem(a, code, "code_verifier="+plain), http.StatusBadRequest, "invalid_grant")
	}
	refused(t, s.redeem(a, s.code("alice", a.query()), "code_verifier="+plain), http.StatusBadRequest, "invalid_grant")
	refused(t, s.redeem(a, ""), http.StatusBadRequest, "invalid_request")
	refused(t, s.redeem(a, code, "grant_type=password"), http.StatusBadRequest, "unsupported_grant_type")
	late := s.code("alice", a.query())
	s.clock.Advance(5 * time.Minute)
	refused(t, s.redeem(a, late), http.StatusBadRequest, "invalid_grant")
	refused(t, s.redeem(a, strings.Repeat("../", 9)), http.StatusBadRequest, "invalid_grant")
	s.login("alice")
	gone := s.code("alice", a.query())
	s.Put("identity/entity/id/"+s.entities["alice"], body{"disabled": true})
	refused(t, s.redeem(a, gone), http.StatusBadRequest, "invalid_grant")
}

// TestAskingRefused: who asks for a code wrongly gets none.
func TestAskingRefused(t *testing.T) {
	t.Parallel()
	s := started(t)
	a := s.client("a", body{"redirect_uris": redirect + ",http://127.0.0.1:1/cb"})
	for more, code := range map[string]string{
		"scope=profile": "invalid_request", "response_type=token": "unsupported_response_type", "client_id=nosuch": "invalid_client_id",
		"redirect_uri=" + redirect + "/": "invalid_redirect_uri", "redirect_uri=": "invalid_redirect_uri", "code_challenge=short": "invalid_request",
		"redirect_uri=http://127.0.0.1:1/other": "invalid_redirect_uri", "redirect_uri=http://127.0.0.1.evil.example:1/cb": "invalid_redirect_uri",
		"redirect_uri=http://x@127.0.0.1/cb": "invalid_redirect_uri", "max_age=0": "max_age_violation", "max_age=-1": "invalid_request",
		"nonce=" + strings.Repeat("n", 4000): "invalid_request",
	} {
		refused(t, s.authorize("alice", a.query(more)), http.StatusBadRequest, code)
	}
	s.code("alice", a.query("redirect_uri=http://127.0.0.1:5555/cb"))
	s.clock.Advance(61 * time.Second)
	refused(t, s.authorize("alice", a.query("max_age=60")), http.StatusBadRequest, "max_age_violation")
	s.tokens["root"] = s.Root
	refused(t, s.authorize("root", a.query()), http.StatusBadRequest, "access_denied")
	s.Put("identity/oidc/assignment/bobs", body{"entity_ids": s.entities["bob"]})
	s.client("a", body{"assignments": "bobs"})
	refused(t, s.authorize("alice", a.query()), http.StatusBadRequest, "access_denied")
	s.code("bob", a.query())
	group := s.Put("identity/group", body{"name": "g", "member_entity_ids": s.entities["alice"]}).Text("data", "id")
	s.Put("identity/oidc/assignment/bobs", body{"group_ids": group})
	s.code("alice", a.query())
	s.Put(provider, body{"allowed_client_ids": "other"})
	refused(t, s.authorize("alice", a.query()), http.StatusBadRequest, "unauthorized_client")
	if r := s.Do(kit.Request{Path: provider + "/authorize?" + a.query().Encode(), Token: kit.NoToken}); r.Status != http.StatusBadRequest || r.At("code") != nil {
		t.Errorf("a code without a token: %d %s", r.Status, r.Raw)
	}
}

// TestPublicClients have no secret and need a challenge.
func TestPublicClients(t *testing.T) {
	t.Parallel()
	s := started(t)
	a := s.client("a", body{"client_type": "public"})
	if a.secret != "" {
		t.Error("a public client has a secret")
	}
	refused(t, s.authorize("alice", a.query()), http.StatusBadRequest, "invalid_request")
	plain, challenge := verifier(t)
	code := s.code("alice", a.query("code_challenge="+challenge, "code_challenge_method=S256"))
	if r := s.redeem(a, code, "code_verifier="+plain); r.Status != http.StatusOK {
		t.Errorf("answered %d %s", r.Status, r.Raw)
	}
	code = s.code("alice", a.query("code_challenge="+plain, "code_challenge_method=plain"))
	if r := s.redeem(a, code, "code_verifier="+plain); r.Status != http.StatusOK {
		t.Errorf("answered %d %s", r.Status, r.Raw)
	}
	refused(t, s.redeem(app{a.id, "x"}, code), http.StatusUnauthorized, "invalid_client")
}

// TestAccessTokens open userinfo for as long as they may, and nothing else.
func TestAccessTokens(t *testing.T) {
	t.Parallel()
	s := started(t)
	a := s.client("a", body{"access_token_ttl": "10m", "id_token_ttl": "1m"})
	r := s.redeem(a, s.code("alice", a.query()))
	token := r.Text("access_token")
	if got := s.userInfo(token); got.Status != http.StatusOK || got.Text("sub") != s.entities["alice"] {
		t.Errorf("answered %d %s", got.Status, got.Raw)
	}
	for _, other := range []string{"", s.Root, s.tokens["alice"], "cfo.x", token + "x", r.Text("id_token")} {
		refused(t, s.userInfo(other), http.StatusUnauthorized, "invalid_token")
	}
	for _, path := range []string{"auth/token/lookup-self", "identity/oidc/client/a", "cubbyhole/x"} {
		if got := s.Do(kit.Request{Path: path, Token: token}); got.Status != http.StatusForbidden {
			t.Errorf("%s: answered %d", path, got.Status)
		}
	}
	s.Put("identity/oidc/provider/other", body{"allowed_client_ids": "*"})
	refused(t, s.Do(kit.Request{Path: "identity/oidc/provider/other/userinfo", Token: token}), http.StatusUnauthorized, "invalid_token")
	s.Put("identity/entity/id/"+s.entities["alice"], body{"disabled": true})
	refused(t, s.userInfo(token), http.StatusUnauthorized, "invalid_token")
	s.Put("identity/entity/id/"+s.entities["alice"], body{"disabled": false})
	s.clock.Advance(10 * time.Minute)
	refused(t, s.userInfo(token), http.StatusUnauthorized, "invalid_token")
}

// TestClientCredentials: a client that may gets tokens of its own.
func TestClientCredentials(t *testing.T) {
	t.Parallel()
	s := started(t)
	a, b := s.client("a", body{"client_credentials": true, "redirect_uris": "", "authorization_code": false}), s.client("b", nil)
	ask := func(c app) *kit.Response {
		return s.form(url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id}, "client_secret": {c.secret}}, nil)
	}
	refused(t, ask(b), http.StatusBadRequest, "unauthorized_client")
	refused(t, s.authorize("alice", a.query()), http.StatusBadRequest, "invalid_redirect_uri")
	r := ask(a)
	token, err := s.verifierOf(s.URL+"/v1/"+provider, a.id).Verify(t.Context(), r.Text("id_token"))
	if err != nil || token.Subject != a.id {
		t.Fatalf("%v %s", err, r.Raw)
	}
	if got := s.userInfo(r.Text("access_token")); got.Text("sub") != a.id {
		t.Errorf("answered %d %s", got.Status, got.Raw)
	}
	s.Delete("identity/oidc/client/a")
	refused(t, s.userInfo(r.Text("access_token")), http.StatusUnauthorized, "invalid_token")
}

// TestOneProof: a client proves itself in one way.
func TestOneProof(t *testing.T) {
	t.Parallel()
	s := started(t)
	a, b := s.client("a", nil), s.client("b", nil)
	try := func(form url.Values, id, secret string) *kit.Response {
		form.Set("grant_type", "authorization_code")
		form.Set("code", "x")
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		return s.form(form, r.Header)
	}
	refused(t, try(url.Values{}, a.id, a.secret), http.StatusBadRequest, "invalid_grant")
	refused(t, try(url.Values{"client_id": {a.id}}, a.id, a.secret), http.StatusBadRequest, "invalid_grant")
	refused(t, try(url.Values{"client_id": {b.id}}, a.id, a.secret), http.StatusUnauthorized, "invalid_client")
	refused(t, try(url.Values{"client_secret": {a.secret}}, a.id, a.secret), http.StatusUnauthorized, "invalid_client")
	refused(t, try(url.Values{}, a.id, b.secret), http.StatusUnauthorized, "invalid_client")
	refused(t, try(url.Values{}, a.id, ""), http.StatusUnauthorized, "invalid_client")
	twice := url.Values{"grant_type": {"authorization_code", "client_credentials"}, "client_id": {a.id}}
	if r := s.form(twice, nil); r.Status != http.StatusBadRequest {
		t.Errorf("a field twice: %d %s", r.Status, r.Raw)
	}
}
