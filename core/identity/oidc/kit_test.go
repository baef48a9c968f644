package oidc_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// trusting is a way to log in that believes everybody, and so is quick.
func trusting() *engines.Engine {
	return &engines.Engine{Type: "trusting", Class: engines.ClassAuth, Help: "Believes everybody.", Table: func(engines.Mount) (*engines.Table, error) {
		return &engines.Table{Help: "Believes everybody.", Routes: []engines.Route{{
			Pattern: "login/{name}", Help: "Log in.", Public: true, Fields: []engines.Field{{Name: "name", Type: engines.String, Help: "Who."}},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: func(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
				name := req.Fields.String("name")
				return &engines.Response{Auth: &engines.Auth{DisplayName: name, Alias: name, Policies: []string{"tokens"}}}, nil
			}}},
		}}}, nil
	}}
}

// scene is a server on which alice, bob and carol log in. Clients are tried
// against its default provider, whose issuer is the server's own URL.
type scene struct {
	*kit.Server
	t        *testing.T
	clock    *kit.Clock
	accessor string
	tokens   map[string]string
	entities map[string]string
}

const provider = "identity/oidc/provider/default"

func started(t *testing.T) *scene {
	t.Helper()
	clock := kit.NewClock()
	s := &scene{Server: kit.New(t, kit.At(clock), kit.Engines(trusting())), t: t, clock: clock, tokens: map[string]string{}, entities: map[string]string{}}
	s.Put("sys/auth/who", body{"type": "trusting"})
	s.accessor = s.Get("sys/auth/who").Text("data", "accessor")
	s.Policy("tokens", `path "identity/oidc/token/*" { capabilities = ["read"] }`)
	for _, name := range []string{"alice", "bob"} {
		s.login(name)
	}
	s.Put("identity/oidc/key/quick", body{"algorithm": "ES256", "allowed_client_ids": "*"})
	s.Put("identity/oidc/config", body{"issuer": s.URL})
	s.Put(provider, body{"issuer": s.URL})
	return s
}

func (s *scene) login(name string) {
	s.t.Helper()
	r := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/who/login/" + name, Token: kit.NoToken})
	s.tokens[name], s.entities[name] = r.Text("auth", "client_token"), r.Text("auth", "entity_id")
}

// app is a client as it was registered.
type app struct{ id, secret string }

const redirect = "https://app.example/callback"

func (s *scene) client(name string, fields body) app {
	s.t.Helper()
	b := body{"key": "quick", "redirect_uris": redirect, "assignments": "allow_all"}
	for k, v := range fields {
		b[k] = v
	}
	s.Put("identity/oidc/client/"+name, b)
	r := s.Get("identity/oidc/client/" + name)
	secret, _ := r.At("data", "client_secret").(string)
	return app{r.Text("data", "client_id"), secret}
}

// query is what a client asks for a code with.
func (a app) query(more ...string) url.Values {
	q := url.Values{"client_id": {a.id}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid"}}
	for _, pair := range more {
		name, value, _ := strings.Cut(pair, "=")
		q.Set(name, value)
	}
	return q
}

func (s *scene) authorize(name string, q url.Values) *kit.Response {
	s.t.Helper()
	return s.Do(kit.Request{Path: provider + "/authorize?" + q.Encode(), Token: s.tokens[name]})
}

func (s *scene) code(name string, q url.Values) string {
	s.t.Helper()
	r := s.authorize(name, q)
	code, _ := r.At("code").(string)
	if r.Status != http.StatusOK || code == "" {
		s.t.Fatalf("no code: %d %s", r.Status, r.Raw)
	}
	return code
}

// redeem asks for the tokens of a code; form overrides what is sent.
func (s *scene) redeem(a app, code string, more ...string) *kit.Response {
	s.t.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {a.id},
	}
	if a.secret != "" {
		form.Set("client_secret", a.secret)
	}
	for _, pair := range more {
		name, value, _ := strings.Cut(pair, "=")
		form.Set(name, value)
	}
	return s.form(form, nil)
}

func (s *scene) form(form url.Values, header http.Header) *kit.Response {
	s.t.Helper()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.Do(kit.Request{Method: http.MethodPost, Path: provider + "/token", Token: kit.NoToken, Header: header, Body: form.Encode()})
}

func (s *scene) userInfo(token string) *kit.Response {
	s.t.Helper()
	return s.Do(kit.Request{Path: provider + "/userinfo", Token: kit.NoToken, Header: http.Header{"Authorization": {"Bearer " + token}}})
}

// refused checks an error of OAuth's.
func refused(t *testing.T, r *kit.Response, status int, code string) {
	t.Helper()
	if got, _ := r.At("error").(string); r.Status != status || got != code {
		t.Errorf("answered %d %s, want %d %s", r.Status, r.Raw, status, code)
	}
}

// denied checks an error of the API's.
func denied(t *testing.T, s *scene, r kit.Request, text string) {
	t.Helper()
	if got := s.Do(r); got.Status != http.StatusBadRequest || !strings.Contains(strings.Join(got.Errors(), " "), text) {
		t.Errorf("%s %v: answered %d %s, want 400 with %q", r.Path, r.Body, got.Status, got.Raw, text)
	}
}

func verifier(t *testing.T) (plain, challenge string) {
	t.Helper()
	var id [32]byte
	if _, err := rand.Read(id[:]); err != nil {
		t.Fatal(err)
	}
	plain = base64.RawURLEncoding.EncodeToString(id[:])
	sum := sha256.Sum256([]byte(plain))
	return plain, base64.RawURLEncoding.EncodeToString(sum[:])
}

// eventually waits for what the background does.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("it never came true")
		case <-tick.C:
		}
	}
}
