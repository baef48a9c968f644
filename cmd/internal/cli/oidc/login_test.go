package oidc_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/oauth2-proxy/mockoidc"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/cmd/internal/cli/oidc"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// started is a server with a provider, and a role "r".
func started(t *testing.T, role body) (*kit.Server, *mockoidc.MockOIDC) {
	t.Helper()
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown() })
	s := kit.New(t)
	s.Put("sys/auth/oidc", body{"type": "oidc"})
	s.Put("auth/oidc/config", body{
		"oidc_discovery_url": provider.Issuer(), "oidc_client_id": provider.Config().ClientID, "oidc_client_secret": provider.Config().ClientSecret,
	})
	fields := body{"user_claim": "sub", "allowed_redirect_uris": "http://localhost/oidc/callback"}
	for name, value := range role {
		fields[name] = value
	}
	s.Put("auth/oidc/role/r", fields)
	return s, provider
}

// login is what the command line would do; browse opens pages.
func login(t *testing.T, s *kit.Server, params map[string]string, browse func(ctx context.Context, address string) error) (*client.Secret, string, error) {
	t.Helper()
	c, err := client.New(client.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var told strings.Builder
	l := &oidc.Login{Client: c, Mount: "oidc", Params: params, Tell: func(text string) { told.WriteString(text + "\n") }, Open: browse}
	secret, err := l.Run(t.Context())
	return secret, told.String(), err
}

func params(more ...string) map[string]string {
	out := map[string]string{"role": "r", "port": "0", "listenaddress": "127.0.0.1"}
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// get opens a page as a browser does, going where it is sent, and returns it.
func get(ctx context.Context, t *testing.T, browser *http.Client, req *http.Request) (status int, page string) {
	t.Helper()
	resp, err := browser.Do(req.WithContext(ctx))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(text)
}

func newRequest(ctx context.Context, t *testing.T, method, address string, form url.Values) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func TestBrowser(t *testing.T) {
	t.Parallel()
	s, provider := started(t, nil)
	provider.QueueUser(&mockoidc.MockUser{Subject: "jon"})
	ctx := t.Context()
	var wg sync.WaitGroup
	secret, told, err := login(t, s, params(), func(_ context.Context, address string) error {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		back := u.Query().Get("redirect_uri")
		wg.Go(func() {
			browser := newBrowser(t)
			// Somebody else's answer is none.
			for _, other := range []string{"", "?state=x&code=y", "?code=y"} {
				if status, _ := get(ctx, t, browser, newRequest(ctx, t, http.MethodGet, back+other, nil)); status != http.StatusBadRequest {
					t.Errorf("%q is answered %d", other, status)
				}
			}
			if status, page := get(ctx, t, browser, newRequest(ctx, t, http.MethodGet, address, nil)); status != http.StatusOK || !strings.Contains(page, "You are logged in") {
				t.Errorf("the browser shows %d %s", status, page)
			}
		})
		return nil
	})
	wg.Wait()
	if err != nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		t.Fatalf("answered %+v %v", secret, err)
	}
	if !strings.Contains(told, provider.AuthorizationEndpoint()) {
		t.Errorf("told %s", told)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s, provider := started(t, body{"bound_subject": "alice"})
	provider.QueueUser(&mockoidc.MockUser{Subject: "jon"})
	ctx := t.Context()
	var wg sync.WaitGroup
	_, _, err := login(t, s, params(), func(_ context.Context, address string) error {
		wg.Go(func() {
			if _, page := get(ctx, t, newBrowser(t), newRequest(ctx, t, http.MethodGet, address, nil)); !strings.Contains(page, "You are not logged in") {
				t.Errorf("the browser shows %s", page)
			}
		})
		return nil
	})
	wg.Wait()
	if err == nil || !strings.Contains(err.Error(), "bound subject") || strings.Contains(err.Error(), "code=") {
		t.Errorf("answered %v", err)
	}
	never := func(context.Context, string) error { return errors.New("there is none") }
	for text, p := range map[string]map[string]string{
		"There is no parameter":          params("portt", "1"),
		"callbackmode is":                params("callbackmode", "x"),
		"skip_browser is":                params("skip_browser", "x"),
		"unauthorized redirect_uri":      params("callbackhost", "evil"),
		"could not be found":             params("role", "x"),
		"open the browser: there is":     params("abort_on_error", "true"),
		"role is for callbackmode=clien": params("callbackmode", "direct", "callbackhost", "localhost", "callbackport", "0"),
	} {
		if p["callbackmode"] == "direct" {
			s.Put("auth/oidc/role/r", body{"allowed_redirect_uris": "http://localhost/v1/auth/oidc/oidc/callback,http://localhost/oidc/callback"})
		}
		if secret, _, err := login(t, s, p, never); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: answered %v %v, want %q", p, secret, err, text)
		}
	}
}

// TestDirect confirms the login on the server's own page.
func TestDirect(t *testing.T) {
	t.Parallel()
	s, provider := started(t, nil)
	s.Put("auth/oidc/role/r", body{"callback_mode": "direct", "poll_interval": 1, "allowed_redirect_uris": s.URL + "/v1/auth/oidc/oidc/callback"})
	provider.QueueUser(&mockoidc.MockUser{Subject: "jon"})
	secret, told, err := login(t, s, params("callbackmode", "direct"), func(ctx context.Context, address string) error {
		browser := newBrowser(t)
		_, page := get(ctx, t, browser, newRequest(ctx, t, http.MethodGet, address, nil))
		form := url.Values{}
		for _, input := range regexp.MustCompile(`name="([a-z_]+)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			form.Set(input[1], input[2])
		}
		if status, page := get(ctx, t, browser, newRequest(ctx, t, http.MethodPost, s.URL+"/v1/auth/oidc/oidc/callback", form)); status != http.StatusOK {
			t.Errorf("the browser shows %s", page)
		}
		return nil
	})
	if err != nil || secret.Auth == nil || !regexp.MustCompile(`(?m)^    [A-Z]{4}-[A-Z]{4}$`).MatchString(told) {
		t.Fatalf("answered %+v %v, told %s", secret, err, told)
	}
	if _, _, err := login(t, s, params("callbackhost", "localhost"), nil); err == nil {
		t.Error("a role for direct callbacks takes those to the client")
	}
}
