package jwt_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// open sends what a browser would: a form, or nothing.
func open(s *kit.Server, path, form string) *kit.Response {
	r := kit.Request{Path: path, Token: kit.NoToken}
	if form != "" {
		r.Method, r.Body, r.Header = http.MethodPost, form, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	}
	return s.Do(r)
}

// TestServer logs in through a whole server, with the browser on Coffer's own
// page, and lives with what comes after.
func TestServer(t *testing.T) {
	t.Parallel()
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown() })
	s := kit.New(t)
	s.Put("sys/auth/sso", body{"type": "oidc"})
	s.Put("auth/sso/config", body{
		"oidc_discovery_url": provider.Issuer(), "oidc_client_id": provider.Config().ClientID, "oidc_client_secret": provider.Config().ClientSecret,
	})
	callback := s.URL + "/v1/auth/sso/oidc/callback"
	s.Put("auth/sso/role/r", body{
		"user_claim": "email", "groups_claim": "groups", "oidc_scopes": "email,groups", "allowed_redirect_uris": callback, "callback_mode": "direct",
		"token_ttl": "1h",
	})
	s.Policy("team", `path "secret/*" { capabilities = ["read"] }`)
	group := s.Put("identity/group", body{"name": "team", "type": "external", "policies": "team"}).Text("data", "id")
	accessor := s.Get("sys/auth").Text("data", "sso/", "accessor")
	s.Put("identity/group-alias", body{"name": "ops", "canonical_id": group, "mount_accessor": accessor})

	// Pages carry what operators want, but are no less safe for it.
	s.Put("sys/config/ui/headers/x-mine", body{"values": []string{"a", "b"}})
	s.Put("sys/config/ui/headers/x-frame-options", body{"values": "ALLOWALL"})

	provider.QueueUser(&mockoidc.MockUser{Subject: "7", Email: "jon@x", Groups: []string{"ops"}})
	index := s.Index()
	began := s.Must(http.StatusOK, kit.Request{
		Method: http.MethodPost, Path: "auth/sso/oidc/auth_url", Token: kit.NoToken, Body: body{"role": "r", "redirect_uri": callback, "client_nonce": "n"},
	})
	if s.Index() != index {
		t.Error("a stranger who begins a login reaches the log")
	}
	poll := kit.Request{Method: http.MethodPost, Path: "auth/sso/oidc/poll", Token: kit.NoToken, Body: body{"state": began.Text("data", "state"), "client_nonce": "n"}}
	if r := s.Must(http.StatusBadRequest, poll); r.Errors()[0] != "authorization_pending" {
		t.Errorf("answered %v", r.Errors())
	}
	answer := browse(t, began.Text("data", "auth_url"))
	page := open(s, "auth/sso/oidc/callback?"+answer.Encode(), "")
	if page.Status != http.StatusOK || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || page.Header.Get("X-Frame-Options") != "DENY" ||
		!slices.Equal(page.Header.Values("X-Mine"), []string{"a", "b"}) || began.Header.Get("X-Mine") != "" ||
		!strings.Contains(string(page.Raw), began.Text("data", "user_code")) {
		t.Fatalf("it shows %d %v %s", page.Status, page.Header, page.Raw)
	}
	form := url.Values{}
	for _, input := range regexp.MustCompile(`name="([a-z_]+)" value="([^"]*)"`).FindAllStringSubmatch(string(page.Raw), -1) {
		form.Set(input[1], strings.ReplaceAll(input[2], "&#43;", "+"))
	}
	if done := open(s, "auth/sso/oidc/callback", form.Encode()); done.Status != http.StatusOK || !strings.Contains(string(done.Raw), "You are logged in") {
		t.Fatalf("it shows %d %s", done.Status, done.Raw)
	}
	login := s.Must(http.StatusOK, poll)
	if login.Text("auth", "metadata", "role") != "r" || !strings.Contains(string(login.Raw), `"identity_policies":["team"]`) {
		t.Errorf("it gives %s", login.Raw)
	}
	s.Must(http.StatusBadRequest, poll)
	if code := answer.Get("code"); strings.Contains(s.Log(), code) || strings.Contains(s.Log(), began.Text("data", "state")) {
		t.Error("the log holds a code or a state")
	}

	token := login.Text("auth", "client_token")
	renew := kit.Request{Method: http.MethodPost, Path: "auth/token/renew-self", Token: token}
	s.Must(http.StatusOK, renew)
	s.Delete("auth/sso/role/r")
	s.Must(http.StatusBadRequest, renew)
}

// TestAnyNode: a restart between a login's beginning and its end is nothing to
// it, since the state travels with the browser.
func TestAnyNode(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := kit.New(t)
	s.Put("sys/auth/oidc", body{"type": "oidc"})
	s.Put("auth/oidc/config", body{"oidc_discovery_url": f.URL, "oidc_client_id": "me"})
	s.Put("auth/oidc/role/r", body{"user_claim": "sub", "allowed_redirect_uris": redirect})
	u, err := url.Parse(s.Put("auth/oidc/oidc/auth_url", body{"role": "r", "redirect_uri": redirect}).Text("data", "auth_url"))
	if err != nil {
		t.Fatal(err)
	}
	s.Restart()
	s.Unseal()
	now := time.Now()
	f.next(body{"iss": f.URL, "aud": "me", "sub": "alice", "nonce": u.Query().Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}, "")
	finish := "auth/oidc/oidc/callback?" + url.Values{"state": u.Query()["state"], "code": {"c"}}.Encode()
	if r := open(s, finish, ""); r.Status != http.StatusOK || r.Text("auth", "client_token") == "" {
		t.Errorf("answered %d %s", r.Status, r.Raw)
	}
	if r := open(s, finish, ""); r.Status != http.StatusBadRequest {
		t.Errorf("once more: answered %d %s", r.Status, r.Raw)
	}
}

// TestRacedState: of all who race with one state, one is let in.
func TestRacedState(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := kit.New(t)
	s.Put("sys/auth/oidc", body{"type": "oidc"})
	s.Put("auth/oidc/config", body{"oidc_discovery_url": f.URL, "oidc_client_id": "me"})
	s.Put("auth/oidc/role/r", body{"user_claim": "sub", "allowed_redirect_uris": redirect})
	for range 3 {
		u, err := url.Parse(s.Put("auth/oidc/oidc/auth_url", body{"role": "r", "redirect_uri": redirect}).Text("data", "auth_url"))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		f.next(body{"iss": f.URL, "aud": "me", "sub": "alice", "nonce": u.Query().Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}, "")
		finish := "auth/oidc/oidc/callback?" + url.Values{"state": u.Query()["state"], "code": {"c"}}.Encode()
		var got atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				switch r := open(s, finish, ""); r.Status {
				case http.StatusOK:
					got.Add(1)
				case http.StatusBadRequest:
				default:
					t.Errorf("answered %d %s", r.Status, r.Raw)
				}
			})
		}
		wg.Wait()
		if n := got.Load(); n != 1 {
			t.Errorf("%d logins with one state", n)
		}
	}
}
