package jwt_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"

	"github.com/coffer-secrets/coffer/auth/jwt"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

const redirect = "http://localhost:8250/oidc/callback"

// browse follows an address as a browser would, as far as the provider sends it
// back.
func browse(t *testing.T, address string) url.Values {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("the provider answers %d: %v", resp.StatusCode, err)
	}
	return back.Query()
}

// begin begins a login and returns what it is answered.
func begin(t *testing.T, h *enginetest.Harness, change body) map[string]any {
	t.Helper()
	fields := body{"role": "r", "redirect_uri": redirect, "client_nonce": "known"}
	maps.Copy(fields, change)
	return enginetest.Data(t, write(t, h, "oidc/auth_url", fields))
}

func authURL(t *testing.T, h *enginetest.Harness) *url.URL {
	t.Helper()
	text, _ := begin(t, h, nil)["auth_url"].(string)
	u, err := url.Parse(text)
	if err != nil || text == "" {
		t.Fatalf("auth_url is %q: %v", text, err)
	}
	return u
}

// finish ends a login as the command line does.
func finish(h *enginetest.Harness, answer url.Values, nonce string) (*engines.Auth, error) {
	query := maps.Clone(answer)
	query.Set("client_nonce", nonce)
	resp, err := h.Do(engines.Read, "oidc/callback", nil, query)
	if err != nil {
		return nil, err
	}
	return resp.Auth, nil
}

func denyFinish(t *testing.T, h *enginetest.Harness, text string, answer url.Values, nonce string) {
	t.Helper()
	if auth, err := finish(h, answer, nonce); err == nil || engines.KindOf(err) != engines.KindInvalid || !strings.Contains(err.Error(), text) {
		t.Errorf("answered %v %v, want a refusal with %q", auth, err, text)
	}
}

const noState = "Expired or missing OAuth state"

// TestBrowser logs in at a provider that is a library's.
func TestBrowser(t *testing.T) {
	t.Parallel()
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown() })
	h := enginetest.Mount(t, jwt.NewOIDC(), nil)
	h.Random, h.Now = true, time.Now()
	write(t, h, "config", body{
		"oidc_discovery_url": provider.Issuer(), "oidc_client_id": provider.Config().ClientID, "oidc_client_secret": provider.Config().ClientSecret,
		"default_role": "r",
	})
	write(t, h, "role/r", body{
		"user_claim": "sub", "groups_claim": "groups", "claim_mappings": body{"email": "mail"}, "bound_claims": body{"preferred_username": "jon"},
		"oidc_scopes": "profile,email,groups", "allowed_redirect_uris": "http://localhost:1234/oidc/callback", "token_policies": "p",
	})
	login := func() url.Values {
		provider.QueueUser(&mockoidc.MockUser{Subject: "id-7", Email: "jon@x", PreferredUsername: "jon", Groups: []string{"b", "a"}})
		return browse(t, authURL(t, h).String())
	}
	answer := login()
	auth, err := finish(h, answer, "known")
	if err != nil {
		t.Fatal(err)
	}
	if auth.Alias != "id-7" || auth.Metadata["mail"] != "jon@x" || !reflect.DeepEqual(auth.Groups, []string{"a", "b"}) || auth.Token.Policies[0] != "p" {
		t.Errorf("it gives %+v", auth)
	}
	denyFinish(t, h, noState, answer, "known")
	again := login()
	// The same state with a new code, the code with a state that it is not for.
	denyFinish(t, h, noState, url.Values{"state": answer["state"], "code": again["code"]}, "known")
	third := login()
	denyFinish(t, h, "Error exchanging oidc code", url.Values{"state": again["state"], "code": third["code"]}, "known")
	third = login()
	denyFinish(t, h, "invalid client_nonce", third, "")
	denyFinish(t, h, "invalid client_nonce", third, "other")
	denyFinish(t, h, "No code or id_token", url.Values{"state": third["state"]}, "known")
	denyFinish(t, h, noState, url.Values{"code": third["code"]}, "known")
	denyFinish(t, h, noState, url.Values{"code": third["code"], "state": {third.Get("state")[1:]}}, "known")
	denyFinish(t, h, "Login failed. access_denied", url.Values{"error": {"access_denied"}, "state": third["state"]}, "known")
	denyFinish(t, h, "no words that are known", url.Values{"error": {"<script>"}, "state": third["state"]}, "known")
	denyFinish(t, h, "another provider's", url.Values{"iss": {"https://other"}, "state": third["state"], "code": third["code"]}, "known")
	if _, err = finish(h, third, "known"); err != nil {
		t.Errorf("after failures that were another's: %v", err)
	}
	provider.QueueUser(&mockoidc.MockUser{Subject: "id-8", PreferredUsername: "eve", Groups: []string{"a"}})
	denyFinish(t, h, `claim "preferred_username" does not match`, browse(t, authURL(t, h).String()), "known")
	late := login()
	h.Now = h.Now.Add(11 * time.Minute)
	denyFinish(t, h, noState, late, "known")
}

// fake is a provider that answers as a test tells it to.
type fake struct {
	*keyServer
	pair *pair
	mu   sync.Mutex
	// claims are those of the next token; err refuses instead.
	claims   body
	userInfo body
	err      string
	sent     url.Values
}

func newFake(t *testing.T) *fake {
	t.Helper()
	p := newPair(t, "k")
	f := &fake{pair: p, keyServer: &keyServer{pairs: []*pair{p}}}
	mux := http.NewServeMux()
	keys := serveKeys(t, p)
	mux.HandleFunc("/keys", keys.Config.Handler.ServeHTTP)
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, body{
			"issuer": f.URL, "jwks_uri": f.URL + "/keys", "authorization_endpoint": f.URL + "/auth", "token_endpoint": f.URL + "/token",
			"userinfo_endpoint": f.URL + "/me", "device_authorization_endpoint": f.URL + "/device",
		})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = r.ParseForm()
		f.sent = r.PostForm
		if f.err != "" {
			answer(w, http.StatusBadRequest, body{"error": f.err, "error_description": "hidden"})
			return
		}
		answer(w, http.StatusOK, body{"access_token": "access", "token_type": "Bearer", "id_token": f.pair.sign(t, f.claims)})
	})
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer access" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		answer(w, http.StatusOK, f.userInfo)
	})
	mux.HandleFunc("POST /graph/users/alice/getMemberObjects", func(w http.ResponseWriter, r *http.Request) {
		var asked body
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.Header.Get("Authorization") != "Bearer access" || asked["securityEnabledOnly"] != true {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, http.StatusOK, body{"value": []string{"many", "groups"}})
	})
	mux.HandleFunc("/device", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, body{"device_code": "dev", "user_code": "ABC", "verification_uri": f.URL + "/enter", "interval": 7, "expires_in": 600})
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// next is what the provider answers next.
func (f *fake) next(claims body, refusal string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.claims, f.err = claims, refusal
}

// idClaims are those of a good ID token, with changes.
func (f *fake) idClaims(h *enginetest.Harness, nonce string, change body) body {
	return claims(h, merged(body{"iss": f.URL, "aud": "me", "nonce": nonce}, change))
}

func merged(a, b body) body {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func (f *fake) mount(t *testing.T, config, role body) *enginetest.Harness {
	t.Helper()
	h := mount(t)
	write(t, h, "config", merged(body{"oidc_discovery_url": f.URL, "oidc_client_id": "me", "oidc_client_secret": "s"}, config))
	write(t, h, "role/r", merged(body{"user_claim": "sub", "allowed_redirect_uris": redirect}, role))
	return h
}

func TestIDTokens(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	h := f.mount(t, nil, body{"max_age": "1h", "oidc_scopes": "x"})
	at := func(d time.Duration) int64 { return h.Now.Add(d).Unix() }
	recent := body{"auth_time": at(-time.Minute)}
	for _, c := range []struct {
		change body
		text   string
	}{
		{nil, ""},
		{body{"nonce": "other"}, "invalid ID token nonce"},
		{body{"nonce": nil}, "invalid ID token nonce"},
		{body{"aud": "other"}, "aud claim does not match"},
		{body{"aud": nil}, `the claim "aud"`},
		{body{"aud": []any{"me", "other"}}, "authorized party"},
		{body{"aud": []any{"me", "other"}, "azp": "me"}, ""},
		{body{"azp": "other"}, "authorized party"},
		{body{"iss": "https://other"}, "invalid issuer"},
		{body{"exp": at(-2 * time.Minute)}, "token is expired"},
		{body{"exp": nil}, `the claim "exp"`},
		{body{"iat": nil}, `the claim "iat"`},
		{body{"sub": nil}, `the claim "sub"`},
		{body{"auth_time": nil}, "too long ago"},
		{body{"auth_time": at(-2 * time.Hour)}, "too long ago"},
	} {
		u := authURL(t, h)
		q := u.Query()
		if q.Get("max_age") != "3600" || q.Get("scope") != "openid x" || q.Get("code_challenge_method") != "S256" || q.Get("client_id") != "me" {
			t.Fatalf("it asks %v", q)
		}
		f.next(f.idClaims(h, q.Get("nonce"), merged(recent, c.change)), "")
		answer := url.Values{"state": q["state"], "code": {"c"}}
		if c.text != "" {
			denyFinish(t, h, c.text, answer, "known")
		} else if _, err := finish(h, answer, "known"); err != nil {
			t.Errorf("%v: %v", c.change, err)
		}
	}
	f.next(nil, "invalid_grant")
	q := authURL(t, h).Query()
	denyFinish(t, h, "Error exchanging oidc code: invalid_grant", url.Values{"state": q["state"], "code": {"c"}}, "known")
	f.next(nil, "hidden-words")
	if _, err := finish(h, url.Values{"state": q["state"], "code": {"c"}}, "known"); engines.KindOf(err) != engines.KindUpstream || strings.Contains(err.Error(), "hidden") {
		t.Errorf("answered %v", err)
	}
	// Another configuration is another provider.
	write(t, h, "config", body{"oidc_discovery_url": f.URL, "oidc_client_id": "other"})
	denyFinish(t, h, noState, url.Values{"state": q["state"], "code": {"c"}}, "known")
	// Another mount's state is none.
	other := f.mount(t, nil, nil)
	other.Info.UUID = "uuid-2"
	denyFinish(t, other, noState, url.Values{"state": q["state"], "code": {"c"}}, "known")
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	h := f.mount(t, nil, body{"groups_claim": "groups", "claim_mappings": body{"email": "mail"}})
	login := func() (*engines.Auth, error) {
		q := authURL(t, h).Query()
		f.next(f.idClaims(h, q.Get("nonce"), body{"email": "token's"}), "")
		return finish(h, url.Values{"state": q["state"], "code": {"c"}}, "known")
	}
	f.userInfo = body{"sub": "alice", "groups": []any{"g"}, "email": "other", "iss": "other"}
	auth, err := login()
	if err != nil || auth.Groups[0] != "g" || auth.Metadata["mail"] != "token's" {
		t.Errorf("answered %+v %v", auth, err)
	}
	f.userInfo["sub"] = "bob"
	if auth, err := login(); err == nil {
		t.Errorf("with another's answer: %+v", auth)
	}
	delete(f.userInfo, "sub")
	if auth, err := login(); err == nil {
		t.Errorf("with nobody's answer: %+v", auth)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	h := f.mount(t, nil, body{"allowed_redirect_uris": "http://localhost:8250/oidc/callback,https://app.x/cb,http://127.0.0.1/cb"})
	for _, good := range []string{redirect, "http://localhost/oidc/callback", "http://localhost:9/oidc/callback", "https://app.x/cb", "http://127.0.0.1:77/cb"} {
		begin(t, h, body{"redirect_uri": good})
	}
	for _, bad := range []string{
		"http://localhost:8250/other", "https://localhost:8250/oidc/callback", "https://app.x:444/cb", "https://app.x/cb?x=1", "https://app.x/cb/../x",
		"https://evil/cb", "http://localhost@evil/oidc/callback", "http://u:p@localhost/oidc/callback", "http://127.0.0.2/cb", "http://localhost/oidc/callback#x", "//localhost/oidc/callback", "http://[::1]/cb",
	} {
		refuse(t, h, "unauthorized redirect_uri", "oidc/auth_url", body{"role": "r", "redirect_uri": bad})
	}
	refuse(t, h, "missing redirect_uri", "oidc/auth_url", body{"role": "r"})
	refuse(t, h, "missing role", "oidc/auth_url", body{"redirect_uri": redirect})
	write(t, h, "role/j", body{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "a"})
	refuse(t, h, "jwt role_type", "oidc/auth_url", body{"role": "j", "redirect_uri": redirect})
	write(t, h, "config", body{"oidc_discovery_url": f.URL})
	refuse(t, h, "OIDC login is not configured", "oidc/auth_url", body{"role": "r", "redirect_uri": redirect})
}

// TestFormPost: the provider posts its token by way of the browser, and the
// client then asks for the login.
func TestFormPost(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	h := f.mount(t, body{"oidc_response_mode": "form_post", "oidc_response_types": "id_token"}, nil)
	q := authURL(t, h).Query()
	if q.Get("response_type") != "id_token" || q.Get("response_mode") != "form_post" || q.Get("code_challenge") != "" {
		t.Fatalf("it asks %v", q)
	}
	state := q.Get("state")
	token := func(nonce string) string { return f.pair.sign(t, f.idClaims(h, nonce, nil)) }
	denyFinish(t, h, "No code or id_token", url.Values{"state": {state}}, "known")
	rows := len(h.Store.Rows())
	refuse(t, h, "invalid ID token nonce", "oidc/callback", body{"state": state, "id_token": token("other")})
	refuse(t, h, "No code or id_token", "oidc/callback", body{"state": state})
	if n := len(h.Store.Rows()); n != rows {
		t.Errorf("a stranger has stored %d rows", n-rows)
	}
	resp := write(t, h, "oidc/callback", body{"state": state, "id_token": token(q.Get("nonce"))})
	if resp.Raw == nil || resp.Raw.Status != http.StatusOK || resp.Auth != nil {
		t.Fatalf("answered %+v", resp)
	}
	refuse(t, h, noState, "oidc/callback", body{"state": state, "id_token": token(q.Get("nonce"))})
	denyFinish(t, h, "invalid client_nonce", url.Values{"state": {state}}, "other")
	if auth, err := finish(h, url.Values{"state": {state}}, "known"); err != nil || auth.Alias != "alice" {
		t.Errorf("answered %+v %v", auth, err)
	}
	denyFinish(t, h, noState, url.Values{"state": {state}}, "known")
	// Nothing is kept for longer than it is good.
	h.Now = h.Now.Add(12 * time.Minute)
	q = authURL(t, h).Query()
	write(t, h, "oidc/callback", body{"state": q.Get("state"), "id_token": token(q.Get("nonce"))})
	if _, err := finish(h, url.Values{"state": q["state"]}, "known"); err != nil {
		t.Fatal(err)
	}
	if n := len(h.Store.Rows()); n != rows+1 {
		t.Errorf("%d rows are left: %v", n-rows, h.Store.Rows())
	}
	// Without the mode nobody posts.
	h = f.mount(t, nil, nil)
	q = authURL(t, h).Query()
	if _, err := h.Do(engines.Update, "oidc/callback", body{"state": q.Get("state"), "id_token": token(q.Get("nonce"))}, nil); engines.KindOf(err) != engines.KindMethod {
		t.Errorf("answered %v", err)
	}
}

// TestDirect: the provider sends the browser to Coffer, the one at the browser
// confirms, and the client gets the token by asking.
func TestDirect(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	h := f.mount(t, nil, body{"callback_mode": "direct", "poll_interval": 3})
	refuse(t, h, "missing client_nonce", "oidc/auth_url", body{"role": "r", "redirect_uri": redirect})
	began := begin(t, h, nil)
	code, _ := began["user_code"].(string)
	if began["poll_interval"] != "3" || !regexp.MustCompile(`^[B-Z]{4}-[B-Z]{4}$`).MatchString(code) {
		t.Errorf("it begins with %v", began)
	}
	u, err := url.Parse(began["auth_url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	poll := body{"state": began["state"], "client_nonce": "known"}
	refuse(t, h, "authorization_pending", "oidc/poll", poll)
	f.next(f.idClaims(h, q.Get("nonce"), nil), "")
	resp, err := h.Do(engines.Read, "oidc/callback", nil, url.Values{"state": q["state"], "code": {`"><b>`}})
	if err != nil {
		t.Fatal(err)
	}
	page := string(resp.Raw.Body)
	if !strings.Contains(page, code) || strings.Contains(page, "<b>") || resp.Headers["X-Frame-Options"] != "DENY" || f.sent != nil {
		t.Errorf("it shows %v %s, and has sent %v", resp.Headers, page, f.sent)
	}
	refuse(t, h, "authorization_pending", "oidc/poll", poll)
	resp = write(t, h, "oidc/callback", body{"state": began["state"], "code": "c", "confirmation": "yes"})
	if !strings.Contains(string(resp.Raw.Body), "You are logged in") || f.sent.Get("code_verifier") == "" {
		t.Errorf("it shows %s, having sent %v", resp.Raw.Body, f.sent)
	}
	refuse(t, h, noState, "oidc/callback", body{"state": began["state"], "code": "c", "confirmation": "yes"})
	refuse(t, h, "invalid client_nonce", "oidc/poll", body{"state": began["state"], "client_nonce": "other"})
	if resp := write(t, h, "oidc/poll", poll); resp.Auth == nil || resp.Auth.Alias != "alice" {
		t.Errorf("answered %+v", resp)
	}
	refuse(t, h, noState, "oidc/poll", poll)
	// A role that was changed in between is another one.
	began = begin(t, h, nil)
	if u, err = url.Parse(began["auth_url"].(string)); err != nil {
		t.Fatal(err)
	}
	f.next(f.idClaims(h, u.Query().Get("nonce"), nil), "")
	write(t, h, "oidc/callback", body{"state": began["state"], "code": "c", "confirmation": "yes"})
	write(t, h, "role/r", body{"bound_subject": "bob"})
	refuse(t, h, noState, "oidc/poll", body{"state": began["state"], "client_nonce": "known"})
}

func TestDevice(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	h := f.mount(t, nil, body{"callback_mode": "device"})
	began := begin(t, h, body{"redirect_uri": ""})
	if began["auth_url"] != f.URL+"/enter" || began["user_code"] != "ABC" || began["poll_interval"] != "7" {
		t.Errorf("it begins with %v", began)
	}
	poll := body{"state": began["state"], "client_nonce": "known"}
	for _, code := range []string{"authorization_pending", "slow_down", "authorization_pending"} {
		f.next(nil, code)
		refuse(t, h, code, "oidc/poll", poll)
	}
	refuse(t, h, "invalid client_nonce", "oidc/poll", body{"state": began["state"]})
	f.next(f.idClaims(h, "", body{"nonce": nil}), "")
	if resp := write(t, h, "oidc/poll", poll); resp.Auth == nil || resp.Auth.Alias != "alice" {
		t.Errorf("answered %+v", resp)
	}
	if f.sent.Get("device_code") != "dev" || f.sent.Get("grant_type") != "urn:ietf:params:oauth:grant-type:device_code" {
		t.Errorf("it sends %v", f.sent)
	}
	refuse(t, h, noState, "oidc/poll", poll)
	denyFinish(t, h, noState, url.Values{"state": {began["state"].(string)}, "code": {"c"}}, "known")
	f.next(nil, "access_denied")
	refuse(t, h, "access_denied", "oidc/poll", body{"state": begin(t, h, nil)["state"], "client_nonce": "known"})
}

// FuzzCallback: whatever a stranger sends in the place of a state is refused.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{"", "x", "====", strings.Repeat("A", 100), "../x"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, state, code string) {
		h := started(t, newPair(t, "k"), nil)
		for _, op := range []engines.Operation{engines.Read, engines.Update} {
			if resp, err := h.Do(op, "oidc/callback", nil, url.Values{"state": {state}, "code": {code}}); err == nil || engines.KindOf(err) == engines.KindInternal {
				t.Errorf("%q %q: %v %v", state, code, resp, err)
			}
		}
	})
}
