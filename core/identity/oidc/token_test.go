package oidc_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// verifierOf is an independent verifier that knows of the server what it publishes.
func (s *scene) verifierOf(issuer, clientID string) *oidc.IDTokenVerifier {
	s.t.Helper()
	p, err := oidc.NewProvider(s.t.Context(), issuer)
	if err != nil {
		s.t.Fatal(err)
	}
	return p.Verifier(&oidc.Config{ClientID: clientID, Now: s.clock.Wall})
}

func (s *scene) tokenIssuer() string { return s.URL + "/v1/identity/oidc" }

func (s *scene) identityToken(name, role string) string {
	s.t.Helper()
	return s.Must(http.StatusOK, kit.Request{Path: "identity/oidc/token/" + role, Token: s.tokens[name]}).Text("data", "token")
}

// TestIdentityTokens: a token of each algorithm says who asked, and another
// library verifies it by what is published.
func TestIdentityTokens(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("identity/entity/id/"+s.entities["alice"], body{"metadata": body{"color": `"}, "sub": "root`, "mail": "a@example.org"}})
	group := s.Put("identity/group", body{"name": "staff", "member_entity_ids": s.entities["alice"]}).Text("data", "id")
	template := `{"color": {{identity.entity.metadata.color}}, "all": {{identity.entity.metadata}}, "none": {{identity.entity.metadata.none}},
		"groups": [{"names": {{identity.entity.groups.names}}, "ids": {{ identity.entity.groups.ids }}}], "nbf": {{time.now.minus.1m}},
		"login": {{identity.entity.aliases.` + s.accessor + `.name}}, "custom": {{identity.entity.aliases.` + s.accessor + `.custom_metadata}}}`
	for _, algorithm := range []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"} {
		s.Put("identity/oidc/key/"+algorithm, body{"algorithm": algorithm, "allowed_client_ids": "*"})
		s.Put("identity/oidc/role/"+algorithm, body{"key": algorithm, "ttl": "10m", "template": template})
		id := s.Get("identity/oidc/role/"+algorithm).Text("data", "client_id")
		token, err := s.verifierOf(s.tokenIssuer(), id).Verify(t.Context(), s.identityToken("alice", algorithm))
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		if token.Subject != s.entities["alice"] || token.Expiry.Sub(token.IssuedAt) != 10*time.Minute {
			t.Errorf("%s: %+v", algorithm, token)
		}
		var claims map[string]any
		if err := token.Claims(&claims); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"color": `"}, "sub": "root`, "all": map[string]any{"color": `"}, "sub": "root`, "mail": "a@example.org"}, "none": "",
			"groups": []any{map[string]any{"names": []any{"staff"}, "ids": []any{group}}}, "login": "alice", "custom": map[string]any{},
			"namespace": "root",
		}
		for name, value := range want {
			if !reflect.DeepEqual(claims[name], value) {
				t.Errorf("%s: %s is %v, want %v", algorithm, name, claims[name], value)
			}
		}
	}
	r := s.Put("identity/oidc/introspect", body{"token": s.identityToken("alice", "ES256")})
	if r.At("active") != true {
		t.Errorf("introspected %s", r.Raw)
	}
	if _, private := s.Do(kit.Request{Path: "identity/oidc/.well-known/keys", Token: kit.NoToken}).At("keys").([]any)[0].(map[string]any)["d"]; private {
		t.Error("a private key is published")
	}
}

// TestIntrospect tells good tokens from others.
func TestIntrospect(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("identity/oidc/role/r", body{"key": "quick", "ttl": "10m", "client_id": "app"})
	s.Put("identity/oidc/role/other", body{"key": "quick", "ttl": "1h"})
	token := s.identityToken("alice", "r")
	active := func(b body) bool { return s.Put("identity/oidc/introspect", b).At("active") == true }
	if !active(body{"token": token}) || !active(body{"token": token, "client_id": "app"}) {
		t.Error("a good token is not active")
	}
	if active(body{"token": token, "client_id": "other"}) || active(body{"token": token + "x"}) || active(body{"token": ""}) || active(body{}) {
		t.Error("another token is active")
	}
	head, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	for _, forged := range []string{"eyJhbGciOiJub25lIn0." + payload + ".", head + "." + payload + ".", head + "." + payload + ".AAAA"} {
		if active(body{"token": forged}) {
			t.Errorf("forged and active: %s", forged)
		}
	}
	s.Put("identity/entity/id/"+s.entities["alice"], body{"disabled": true})
	if active(body{"token": token}) {
		t.Error("the token of a disabled entity is active")
	}
	s.Put("identity/entity/id/"+s.entities["alice"], body{"disabled": false})
	s.clock.Advance(10*time.Minute + time.Second)
	if active(body{"token": token}) {
		t.Error("an expired token is active")
	}
	if r := s.Do(kit.Request{Path: "identity/oidc/token/r"}); r.Status != http.StatusBadRequest {
		t.Errorf("a token without an identity: %d %s", r.Status, r.Raw)
	}
}

func (s *scene) published() map[string]bool {
	s.t.Helper()
	ids := make(map[string]bool)
	keys, _ := s.Must(http.StatusOK, kit.Request{Path: "identity/oidc/.well-known/keys", Token: kit.NoToken}).At("keys").([]any)
	for _, key := range keys {
		ids[key.(map[string]any)["kid"].(string)] = true //nolint:forcetypeassert // a test
	}
	return ids
}

// TestRotation: keys rotate on time. What will sign is published ahead, what has
// signed stays for its time, and restarts change nothing.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("identity/oidc/key/k", body{"algorithm": "ES256", "rotation_period": "1h", "verification_ttl": "2h", "allowed_client_ids": "*"})
	s.Put("identity/oidc/role/r", body{"key": "k", "ttl": "2h", "client_id": "app"})
	first := s.published()
	if len(first) != 2 {
		t.Fatalf("published %v", first)
	}
	old := s.identityToken("alice", "r")
	verifier := s.verifierOf(s.tokenIssuer(), "app")
	s.clock.Advance(time.Hour)
	eventually(t, func() bool { return len(s.published()) == 3 })
	now := s.published()
	for id := range first {
		if !now[id] {
			t.Error("a key went at its rotation")
		}
	}
	s.login("alice")
	fresh := s.identityToken("alice", "r")
	for _, token := range []string{old, fresh} {
		if _, err := verifier.Verify(t.Context(), token); err != nil {
			t.Errorf("after a rotation: %v", err)
		}
	}
	s.Put("identity/oidc/key/k/rotate", body{"verification_ttl": 0})
	if got := s.published(); len(got) != 3 {
		t.Errorf("published %v", got)
	}
	if s.Put("identity/oidc/introspect", body{"token": fresh}).At("active") == true {
		t.Error("the key was rotated out at once, and still verifies")
	}
	before := s.published()
	s.Restart()
	s.Unseal()
	if !maps.Equal(s.published(), before) {
		t.Error("a restart changed what is published")
	}
	s.Put("identity/oidc/key/k", body{"algorithm": "RS256"})
	s.login("alice")
	if len(s.published()) != 4 {
		t.Errorf("after a change of algorithm: %v", s.published())
	}
	s.identityToken("alice", "r")
	if strings.Contains(s.Log(), "PRIVATE") {
		t.Error("the log holds a key")
	}
}

// TestTemplates: what is no template is refused when it is written.
func TestTemplates(t *testing.T) {
	t.Parallel()
	s := started(t)
	write := func(template string) kit.Request {
		return kit.Request{Method: http.MethodPut, Path: "identity/oidc/scope/s", Body: body{"template": template}}
	}
	for _, template := range []string{
		`[]`, `"x"`, `{`, `{"a": {{identity.entity.name}}`, `{"a": "{{identity.entity.name}}"}`, `{{{identity.entity.name}}: 1}`, `{"a": {{nosuch}}}`,
		`{"a": {{}}}`, `{"a": {{identity.entity}}}`, `{"a": {{time.now.plus.-1h}}}`, `{"a": {{time.now.plus.x}}}`, `{"a": {{identity.entity.name}`,
		`{} {}`, `{"a": {{identity.entity.name}}{{identity.entity.id}}}`, `{"a":` + strings.Repeat(" ", 20000) + `1}`,
	} {
		denied(t, s, write(template), "template")
	}
	for _, claim := range []string{"iss", "sub", "aud", "exp", "iat", "namespace", "nonce", "at_hash", "c_hash", "auth_time"} {
		denied(t, s, write(`{"`+claim+`": 1}`), "not allowed")
	}
	for _, template := range []string{"", `{}`, `{"a": {{ time.now.plus.1h }}}`, "eyJhIjogMX0=", `{"a": [{{identity.entity.id}}, {"b": {{time.now}}}]}`} {
		s.Must(http.StatusNoContent, write(template))
	}
}

// TestRows are the rows of the API, and what is there from the start.
func TestRows(t *testing.T) {
	t.Parallel()
	s := started(t)
	for path, want := range map[string]string{"assignment": "allow_all", "provider": "default"} {
		if keys := s.List("identity/oidc/"+path).Strings("data", "keys"); !slices.Equal(keys, []string{want}) {
			t.Errorf("%s: %v", path, keys)
		}
		r := s.Do(kit.Request{Method: http.MethodDelete, Path: "identity/oidc/" + path + "/" + want})
		if r.Status != http.StatusBadRequest {
			t.Errorf("%s %s: deleted %d", path, want, r.Status)
		}
	}
	if keys := s.List("identity/oidc/key").Strings("data", "keys"); !slices.Equal(keys, []string{"default", "quick"}) {
		t.Errorf("keys %v", keys)
	}
	if r := s.Get("identity/oidc/key/default"); r.Text("data", "algorithm") != "RS256" || r.At("data", "rotation_period") != json.Number("86400") {
		t.Errorf("the default key is %s", r.Raw)
	}
	put := func(path string, b body) kit.Request {
		return kit.Request{Method: http.MethodPut, Path: "identity/oidc/" + path, Body: b}
	}
	for _, bad := range []kit.Request{
		put("key/a", body{"algorithm": "HS256"}), put("key/a", body{"rotation_period": "59s"}), put("key/a", body{"verification_ttl": "241h"}),
		put("role/a", body{}), put("role/a", body{"key": "nosuch"}), put("role/a", body{"key": "default", "ttl": "25h"}), put("role/a", body{"key": "default", "ttl": -1}),
		put("assignment/allow_all", body{"entity_ids": "x"}), put("scope/openid", body{}), put("client/a", body{"key": "nosuch"}),
		put("client/a", body{"assignments": "nosuch"}), put("client/a", body{"client_type": "secretive"}), put("client/a", body{"redirect_uris": "/x"}),
		put("client/a", body{"id_token_ttl": "25h"}), put("client/a", body{"client_type": "public", "client_credentials": true}),
		put("provider/a", body{"issuer": "ftp://x"}), put("provider/a", body{"issuer": "https://x/y"}), put("provider/a", body{"scopes_supported": "nosuch"}),
		put("config", body{"issuer": "https://u@x"}), put("key/a%20b", body{}),
	} {
		denied(t, s, bad, "")
	}
	s.Put("identity/oidc/key/k", body{"verification_ttl": "1h", "algorithm": "ES256"})
	s.Put("identity/oidc/role/r", body{"key": "k", "ttl": "1h"})
	denied(t, s, put("key/k", body{"verification_ttl": "30m"}), "referenced")
	denied(t, s, kit.Request{Method: http.MethodDelete, Path: "identity/oidc/key/k"}, "referenced")
	denied(t, s, kit.Request{Path: "identity/oidc/token/r", Token: s.tokens["alice"]}, "allowed client ID")
	s.Delete("identity/oidc/role/r")
	s.Delete("identity/oidc/key/k")
	s.Put("identity/oidc/assignment/staff", body{"entity_ids": s.entities["alice"]})
	s.Put("identity/oidc/scope/s", body{"template": `{"a": 1}`, "description": "d"})
	s.Put("identity/oidc/scope/t", body{"template": `{"a": 2}`})
	if r := s.Put("identity/oidc/provider/p", body{"scopes_supported": "s,t"}); !strings.Contains(string(r.Raw), "conflicting top-level keys") {
		t.Errorf("no warning: %s", r.Raw)
	}
	if got := s.Get("identity/oidc/provider/p").Text("data", "issuer"); got != "http://127.0.0.1:8200/v1/identity/oidc/provider/p" {
		t.Errorf("issuer %s", got)
	}
	s.client("c", body{"assignments": "staff"})
	for _, path := range []string{"scope/s", "assignment/staff", "key/default"} {
		denied(t, s, kit.Request{Method: http.MethodDelete, Path: "identity/oidc/" + path}, "")
	}
	denied(t, s, put("client/c", body{"key": "other"}), "key modification")
	denied(t, s, put("client/c", body{"client_type": "public"}), "client_type modification")
	if r := s.List("identity/oidc/client"); strings.Contains(string(r.Raw), "client_secret") {
		t.Errorf("the listing tells secrets: %s", r.Raw)
	}
	for _, path := range []string{"client/c", "provider/p", "scope/s", "scope/t", "assignment/staff"} {
		s.Get("identity/oidc/" + path)
		s.Delete("identity/oidc/" + path)
		s.Must(http.StatusNotFound, kit.Request{Path: "identity/oidc/" + path})
	}
}
