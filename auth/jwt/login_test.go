package jwt_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coffer-secrets/coffer/auth/jwt"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

// started is a mount with one static key and a role "r".
func started(t *testing.T, p *pair, change body) *enginetest.Harness {
	t.Helper()
	h := mount(t)
	write(t, h, "config", body{"jwt_validation_pubkeys": p.pem(t), "bound_issuer": "https://issuer"})
	role := body{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "coffer", "token_policies": "app", "token_ttl": "1h"}
	for name, value := range change {
		role[name] = value
	}
	write(t, h, "role/r", role)
	return h
}

func TestClaims(t *testing.T) {
	t.Parallel()
	p := newPair(t, "k")
	h := started(t, p, body{
		"bound_claims": body{"team": []string{"red", "blue"}, "/deep/er/0": "x", "level": 3, "ok": true},
		"groups_claim": "/deep/groups", "claim_mappings": body{"mail": "email", "/deep/n": "n", "none": "none"},
	})
	good := body{"team": "red", "level": 3, "ok": true, "mail": "a@b", "deep": body{"er": []any{"x"}, "groups": []any{"g2", "g1", "g2"}, "n": 7}}
	auth := allow(t, h, p.sign(t, claims(h, good)))
	if auth.Alias != "alice" || auth.DisplayName != "alice" || auth.Token.TTL != time.Hour || !reflect.DeepEqual(auth.Token.Policies, []string{"app"}) {
		t.Errorf("it gives %+v", auth)
	}
	if want := map[string]string{"role": "r", "email": "a@b", "n": "7"}; !reflect.DeepEqual(auth.Metadata, want) {
		t.Errorf("metadata %v, want %v", auth.Metadata, want)
	}
	if want := []string{"g1", "g2"}; !reflect.DeepEqual(auth.Groups, want) {
		t.Errorf("groups %v, want %v", auth.Groups, want)
	}
	for _, c := range []struct {
		change body
		text   string
	}{
		{body{"team": "green"}, `claim "team" does not match`},
		{body{"team": nil}, `claim "team" is missing`},
		{body{"team": []any{"green", "blue"}}, ""},
		{body{"team": []any{}}, `claim "team" does not match`},
		{body{"team": body{"red": 1}}, `claim "team" does not match`},
		{body{"level": "3"}, `claim "level" does not match`},
		{body{"level": 3.5}, `claim "level" does not match`},
		{body{"level": json.Number("3.0")}, ""},
		{body{"ok": "true"}, `claim "ok" does not match`},
		{body{"deep": body{"groups": []any{"g"}}}, `claim "/deep/er/0" is missing`},
		{body{"deep": body{"er": []any{"x"}}}, `"/deep/groups" claim not found`},
		{body{"deep": body{"er": []any{"x"}, "groups": []any{1}}}, "is not a list of texts"},
		{body{"deep": body{"er": []any{"x"}, "groups": "g"}}, ""},
		{body{"mail": body{}}, `converting claim "mail"`},
		{body{"mail": strings.Repeat("x", 17<<10)}, `converting claim "mail"`},
		{body{"sub": nil}, `claim "sub" not found`},
		{body{"sub": 7}, `claim "sub" is not a text`},
		{body{"sub": ""}, `claim "sub" is not a text`},
		{body{"sub": []any{"alice"}}, `claim "sub" is not a text`},
		{body{"iss": "https://other"}, "invalid issuer"},
		{body{"iss": nil}, "invalid issuer"},
		{body{"aud": "other"}, "aud claim does not match"},
		{body{"aud": nil}, "aud claim does not match"},
		{body{"aud": []any{"other", "coffer"}}, ""},
		{body{"aud": body{}}, "neither a text nor a list"},
	} {
		all := claims(h, good)
		for name, value := range c.change {
			if all[name] = value; value == nil {
				delete(all, name)
			}
		}
		if token := p.sign(t, all); c.text == "" {
			allow(t, h, token)
		} else {
			deny(t, h, c.text, token)
		}
	}
}

func TestBoundGlobsAndSubject(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	h := started(t, p, body{"bound_claims_type": "glob", "bound_claims": body{"ref": "refs/heads/*", "repo": []string{"a/*-x", "b"}}, "bound_subject": "alice"})
	allow(t, h, p.sign(t, claims(h, body{"ref": "refs/heads/main", "repo": "a/1-x"})))
	allow(t, h, p.sign(t, claims(h, body{"ref": "refs/heads/", "repo": []any{"c", "b"}})))
	deny(t, h, "ref", p.sign(t, claims(h, body{"ref": "refs/tags/1", "repo": "b"})))
	deny(t, h, "repo", p.sign(t, claims(h, body{"ref": "refs/heads/main", "repo": "b/1"})))
	deny(t, h, "repo", p.sign(t, claims(h, body{"ref": "refs/heads/main", "repo": 1})))
	deny(t, h, "bound subject", p.sign(t, claims(h, body{"ref": "refs/heads/main", "repo": "b", "sub": "Alice"})))
	write(t, h, "role/r", body{"bound_claims": body{"ref": "refs/heads/main"}, "bound_claims_type": "string"})
	deny(t, h, "ref", p.sign(t, claims(h, body{"ref": "refs/heads/*"})))
}

func TestTimes(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	h := started(t, p, nil)
	at := func(d time.Duration) int64 { return h.Now.Add(d).Unix() }
	for _, c := range []struct {
		change body
		text   string
	}{
		{body{"exp": at(-50 * time.Second)}, ""},
		{body{"exp": at(-70 * time.Second)}, "token is expired"},
		{body{"nbf": at(50 * time.Second)}, ""},
		{body{"nbf": at(70 * time.Second)}, "not yet valid"},
		{body{"iat": at(70 * time.Second)}, "issued in the future"},
		{body{"iat": nil, "nbf": nil, "exp": nil}, "no issued at (iat)"},
		{body{"nbf": nil, "exp": nil, "iat": at(-200 * time.Second)}, ""},
		{body{"nbf": nil, "exp": nil, "iat": at(-220 * time.Second)}, "token is expired"},
		{body{"nbf": nil, "iat": nil, "exp": at(200 * time.Second)}, ""},
		{body{"nbf": nil, "iat": nil, "exp": at(220 * time.Second)}, "not yet valid"},
		{body{"exp": "tomorrow"}, `"exp" is not a time`},
		{body{"exp": 1e300}, `"exp" is not a time`},
		{body{"exp": -1}, `"exp" is not a time`},
	} {
		if token := p.sign(t, claims(h, c.change)); c.text == "" {
			allow(t, h, token)
		} else {
			deny(t, h, c.text, token)
		}
	}
	write(t, h, "role/r", body{"clock_skew_leeway": -1, "expiration_leeway": -1, "not_before_leeway": "1h"})
	deny(t, h, "token is expired", p.sign(t, claims(h, body{"exp": at(-2 * time.Second)})))
	deny(t, h, "token is expired", p.sign(t, claims(h, body{"nbf": nil, "exp": nil, "iat": at(-2 * time.Second)})))
	allow(t, h, p.sign(t, claims(h, body{"nbf": nil, "iat": nil, "exp": at(50 * time.Minute)})))
}

// TestForgeries: whatever is not signed by the key, with its algorithm, is no
// token (attack 48, with TestKeySets for keys that are stale).
func TestForgeries(t *testing.T) {
	t.Parallel()
	rsaPair := &pair{priv: rsaKey(), alg: jose.RS256}
	h := started(t, rsaPair, nil)
	good := claims(h, nil)
	text, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	token := rsaPair.sign(t, good)
	allow(t, h, token)
	parts := strings.Split(token, ".")
	encode := base64.RawURLEncoding.EncodeToString
	none := func(alg string) string { return encode([]byte(`{"alg":"`+alg+`"}`)) + "." + parts[1] + "." }
	const malformed, signature = "not a JSON Web Token", "not signed with a key"
	other := newPair(t, "")
	for name, c := range map[string]struct{ token, text string }{
		"none":                 {none("none"), malformed},
		"None":                 {none("None"), malformed},
		"no algorithm":         {encode([]byte(`{}`)) + "." + parts[1] + "." + parts[2], malformed},
		"signature cut":        {parts[0] + "." + parts[1] + ".", signature},
		"another's signature":  {parts[0] + "." + encode([]byte(`{"sub":"root","aud":"coffer"}`)) + "." + parts[2], signature},
		"HS256 by public key":  {signWith(t, jose.HS256, []byte(rsaPair.pem(t)), "", string(text)), malformed},
		"HS256 by trimmed key": {signWith(t, jose.HS256, []byte(strings.TrimSpace(rsaPair.pem(t))), "", string(text)), malformed},
		"another's key":        {other.sign(t, good), signature},
		"nothing":              {"", "missing token"},
		"text":                 {"x", malformed},
		"dots":                 {"..", malformed},
		"too long":             {token + strings.Repeat("A", 70<<10), malformed},
		"a claim twice":        {rsaPair.signText(t, `{"sub":"a","sub":"alice","aud":"coffer","iss":"https://issuer"}`), malformed},
		"no object":            {rsaPair.signText(t, `["sub"]`), malformed},
		"null":                 {rsaPair.signText(t, `null`), malformed},
		"deep":                 {rsaPair.signText(t, `{"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`), malformed},
	} {
		if name == "signature cut" { // the library takes it for malformed or not, both are refusals
			c.text = "error validating token"
		}
		t.Log(name)
		deny(t, h, c.text, c.token)
	}
	// Where a key is to be found is not the token's to say.
	for _, id := range []string{"../../../../dev/null", "https://evil/keys", "' OR 1=1", strings.Repeat("k", 10_000)} {
		deny(t, h, signature, signWith(t, jose.ES256, other.priv, id, string(text)))
	}
	// A key in the token's own header is nobody's.
	own, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: other.priv}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := own.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	deny(t, h, signature, embedded)
	write(t, h, "config", body{"jwt_validation_pubkeys": rsaPair.pem(t), "bound_issuer": "https://issuer", "jwt_supported_algs": "RS512"})
	deny(t, h, malformed, token)
}

func TestKeySets(t *testing.T) {
	t.Parallel()
	a, b, c := newPair(t, "a"), newPair(t, "b"), newPair(t, "c")
	for _, source := range []string{"jwks_url", "oidc_discovery_url"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			server := serveKeys(t, a)
			h := started(t, a, nil)
			address := server.URL
			if source == "jwks_url" {
				address += "/keys"
			}
			write(t, h, "config", body{source: address, "bound_issuer": "https://issuer"})
			good := func(p *pair) string { return p.sign(t, claims(h, nil)) }
			allow(t, h, good(a))
			asked := server.asked.Load()
			for range 20 {
				allow(t, h, good(a))
				deny(t, h, "not signed with a key", good(b))
			}
			if n := server.asked.Load(); n != asked {
				t.Errorf("asked %d times for a key that is not there, right after the keys were fetched", n-asked)
			}
			server.set(a, b)
			h.Now = h.Now.Add(6 * time.Second)
			allow(t, h, good(b))
			allow(t, h, good(a))
			asked = server.asked.Load()
			// A key by the name of another one, and one without a name.
			deny(t, h, "not signed with a key", (&pair{id: "a", priv: c.priv, alg: c.alg}).sign(t, claims(h, nil)))
			allow(t, h, (&pair{priv: b.priv, alg: b.alg}).sign(t, claims(h, nil)))
			if n := server.asked.Load(); n != asked {
				t.Errorf("asked %d times more", n-asked)
			}
			// While it is down the keys are good for an hour, and then no more.
			server.down.Store(true)
			h.Now = h.Now.Add(30 * time.Minute)
			allow(t, h, good(a))
			h.Now = h.Now.Add(31 * time.Minute)
			if _, err := h.Do(engines.Update, "login", body{"role": "r", "jwt": good(a)}, nil); engines.KindOf(err) != engines.KindUpstream {
				t.Errorf("after an hour: %v", err)
			}
			server.down.Store(false)
			h.Now = h.Now.Add(6 * time.Second)
			allow(t, h, good(a))
			// A key that was withdrawn counts no longer.
			server.set(b)
			h.Now = h.Now.Add(11 * time.Minute)
			deny(t, h, "not signed with a key", good(a))
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	server := serveKeys(t, p)
	h := mount(t)
	if _, err := h.Do(engines.Read, "config", nil, nil); engines.KindOf(err) != engines.KindNotFound {
		t.Errorf("before it is written: %v", err)
	}
	refuse(t, h, "could not load configuration", "login", body{"role": "r", "jwt": "x"})
	for text, c := range map[string]body{
		"exactly one of":                    {},
		"exactly one":                       {"jwks_url": server.URL, "oidc_discovery_url": server.URL},
		"jwks_url: expected":                {"jwks_url": "file:///etc/passwd"},
		"error checking jwks URL":           {"jwks_url": server.URL + "/.well-known/openid-configuration"},
		"error checking oidc discovery URL": {"oidc_discovery_url": server.URL + "/"},
		"jwt_validation_pubkeys":            {"jwt_validation_pubkeys": "x"},
		"jwt_supported_algs":                {"jwks_url": server.URL, "jwt_supported_algs": "HS256"},
		"jwks_ca_pem":                       {"jwks_url": server.URL, "jwks_ca_pem": "x"},
		"oidc_response_mode":                {"oidc_discovery_url": server.URL, "oidc_response_mode": "fragment"},
		"must be 'form_post'":               {"oidc_discovery_url": server.URL, "oidc_response_types": "id_token"},
		"invalid response_types":            {"oidc_discovery_url": server.URL, "oidc_response_types": "token"},
		"provider_config":                   {"oidc_discovery_url": server.URL, "provider_config": body{"provider": "gsuite"}},
		"'oidc_client_id'":                  {"jwks_url": server.URL + "/keys", "oidc_client_id": "x"},
	} {
		refuse(t, h, text, "config", c)
	}
	write(t, h, "config", body{"oidc_discovery_url": server.URL + "/.well-known/openid-configuration", "oidc_client_id": "id", "oidc_client_secret": "hidden", "default_role": "R", "provider_config": body{"provider": "azure"}})
	got := read(t, h, "config")
	if got["oidc_discovery_url"] != server.URL || got["default_role"] != "r" || got["oidc_client_id"] != "id" {
		t.Errorf("it shows %v", got)
	}
	if _, shown := got["oidc_client_secret"]; shown {
		t.Error("it shows the secret")
	}
	server.down.Store(true)
	resp := write(t, h, "config", body{"jwks_url": server.URL + "/keys", "skip_jwks_validation": true})
	if resp == nil || len(resp.Warnings) != 1 {
		t.Errorf("without a warning: %+v", resp)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	h := mount(t)
	for text, c := range map[string]body{
		"user claim must":            {"role_type": "jwt", "bound_audiences": "a"},
		"at least one bound":         {"role_type": "jwt", "user_claim": "sub"},
		"'allowed_redirect_uris'":    {"user_claim": "sub"},
		"allowed_redirect_uris: exp": {"user_claim": "sub", "allowed_redirect_uris": "/x"},
		"role_type":                  {"user_claim": "sub", "role_type": "saml"},
		"bound_claims: each":         {"role_type": "jwt", "user_claim": "sub", "bound_claims": body{"a": body{}}},
		"not empty":                  {"role_type": "jwt", "user_claim": "sub", "bound_claims": body{"a": []any{}}},
		`type "glob"`:                {"role_type": "jwt", "user_claim": "sub", "bound_claims": body{"a": 1}, "bound_claims_type": "glob"},
		`"role" is reserved`:         {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "a", "claim_mappings": body{"a": "role"}},
		`mapped to metadata key "x"`: {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "a", "claim_mappings": body{"a": "x", "b": "x"}},
		"cannot give the policy":     {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "a", "token_policies": "root"},
		"written to cel/role/r":      {"cel_program": body{"expression": "true"}},
		"poll_interval":              {"user_claim": "sub", "callback_mode": "device", "poll_interval": 100000},
		"callback_mode":              {"user_claim": "sub", "callback_mode": "x"},
	} {
		refuse(t, h, text, "role/r", c)
	}
	write(t, h, "role/R", body{
		"role_type": "jwt", "user_claim": "sub", "bound_claims": body{"n": 1, "l": []any{"a", true}}, "clock_skew_leeway": -1, "policies": "P1",
		"ttl": "1h", "num_uses": 3,
	})
	got := read(t, h, "role/r")
	text, err := json.Marshal(got["bound_claims"])
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != `{"l":["a",true],"n":1}` || got["clock_skew_leeway"] != json.Number("-1") || got["token_num_uses"] != json.Number("3") || got["token_ttl"] != json.Number("3600") {
		t.Errorf("it shows %v", got)
	}
	resp, err := h.Do(engines.List, "role", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if keys := enginetest.Data(t, resp)["keys"]; !reflect.DeepEqual(keys, []any{"r"}) {
		t.Errorf("it lists %v", keys)
	}
	if _, err := h.Do(engines.Delete, "role/r", nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Do(engines.Read, "role/r", nil, nil); engines.KindOf(err) != engines.KindNotFound {
		t.Errorf("after it was deleted: %v", err)
	}
}

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	h := started(t, p, body{"token_bound_cidrs": "10.0.0.0/8"})
	token := p.sign(t, claims(h, nil))
	if _, err := h.Do(engines.Update, "login", body{"role": "r", "jwt": token}, nil); engines.KindOf(err) != engines.KindDenied {
		t.Errorf("from nowhere: %v", err)
	}
	h.Caller.Addr = netip.MustParseAddr("10.1.2.3")
	allow(t, h, token)
	refuse(t, h, `role "x" could not be found`, "login", body{"role": "x", "jwt": token})
	refuse(t, h, "missing role", "login", body{"jwt": token})
	write(t, h, "config", body{"jwt_validation_pubkeys": p.pem(t), "bound_issuer": "https://issuer", "default_role": "r"})
	if _, err := h.Do(engines.Update, "login", body{"jwt": token}, nil); err != nil {
		t.Errorf("by the default role: %v", err)
	}
	write(t, h, "role/r", body{"role_type": "oidc", "allowed_redirect_uris": "http://localhost/x"})
	refuse(t, h, "oidc role_type is not allowed", "login", body{"role": "r", "jwt": token})
}

// TestStale: a role that changes while its token is verified is asked again.
func TestStale(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	h := started(t, p, nil)
	token := p.sign(t, claims(h, nil))
	tx := h.Store.Begin()
	req := &engines.Request{Now: h.Now, Mount: h.Info, Fields: engines.NewValues(map[string]any{"role": "r", "jwt": token}, nil)}
	match, _ := h.Compiled().Match("login")
	op, _ := match.Op(engines.Update)
	work, err := op.Ahead(t.Context(), req, tx)
	if err != nil {
		t.Fatal(err)
	}
	if req.Ahead, err = work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if resp, err := op.Handler(t.Context(), req, h.Store.Begin()); err != nil || resp.Auth == nil {
		t.Fatalf("answered %v %v", resp, err)
	}
	write(t, h, "role/r", body{"bound_subject": "bob"})
	if resp, err := op.Handler(t.Context(), req, h.Store.Begin()); err != engines.ErrStale {
		t.Errorf("answered %v %v", resp, err)
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	h := started(t, p, nil)
	auth := allow(t, h, p.sign(t, claims(h, nil)))
	renewal := &engines.Renewal{Mount: h.Info, Now: h.Now, Private: auth.Private, Metadata: auth.Metadata, Policies: []string{"app"}}
	renew := func() (*engines.TokenParams, error) {
		return jwt.New().Renew(context.WithoutCancel(t.Context()), renewal, h.Store.Begin())
	}
	write(t, h, "role/r", body{"token_ttl": "2h"})
	if params, err := renew(); err != nil || params.TTL != 2*time.Hour {
		t.Errorf("answered %v %v", params, err)
	}
	if _, err := h.Do(engines.Delete, "role/r", nil, nil); err != nil {
		t.Fatal(err)
	}
	if params, err := renew(); engines.KindOf(err) != engines.KindInvalid {
		t.Errorf("without its role answered %v %v", params, err)
	}
}

// FuzzLogin: whatever a stranger sends is answered, and never with a token.
func FuzzLogin(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"role":"r"}`, `{"role":"r","jwt":"x"}`, `{"role":"r","jwt":"eyJhbGciOiJub25lIn0.e30."}`, `{"role":["r"],"jwt":{}}`, `{"role":"../r","jwt":"a.b.c"}`, `[`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := started(t, newPair(t, "k"), nil)
		if resp, err := h.Do(engines.Update, "login", text, nil); err == nil {
			t.Errorf("%q is answered %+v", text, resp)
		} else if engines.KindOf(err) == engines.KindInternal {
			t.Errorf("%q: %v", text, err)
		}
	})
}
