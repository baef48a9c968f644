package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// issuer signs tokens, and serves what servers ask issuers for: a provider of
// OpenID Connect, and the API server of a Kubernetes cluster.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
	// claims are those of the provider's next token.
	claims object
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
	answer := func(status int, value func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(value())
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/.well-known/openid-configuration", answer(200, func() any {
		return object{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token"}
	}))
	mux.Handle("/keys", answer(200, func() any {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k", Use: "sig"}}}
	}))
	mux.Handle("/token", answer(200, func() any {
		return object{"access_token": "a", "token_type": "Bearer", "id_token": i.sign(t, i.claims)}
	}))
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Spec struct{ Audiences []string } `json:"spec"`
		}
		_ = json.NewDecoder(r.Body).Decode(&review)
		answer(201, func() any {
			return object{"status": object{
				"authenticated": r.Header.Get("Authorization") != "", "audiences": review.Spec.Audiences,
				"user": object{"username": "system:serviceaccount:prod:app", "uid": "u"},
			}}
		})(w, r)
	})
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}))
}

// sign makes a token of claims that is good for an hour.
func (i *issuer) sign(t testing.TB, claims object) string {
	t.Helper()
	all := object{"iss": i.URL, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	text := must(json.Marshal(all))(t)
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "k"}}
	return must(must(must(jose.NewSigner(key, nil))(t).Sign(text))(t).CompactSerialize())(t)
}

// enabled mounts a way to log in for the test.
func enabled(t *testing.T, c *api.Client, kind string) string {
	t.Helper()
	path := "signed-" + kind
	check(t, c.Sys().EnableAuthWithOptions(path, &api.EnableAuthOptions{Type: kind}))
	t.Cleanup(func() { check(t, c.Sys().DisableAuth(path)) })
	return path
}

func TestSignedTokens(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	i := newIssuer(t)
	at := "auth/" + enabled(t, c, "jwt")
	must(c.Logical().Write(at+"/config", object{"oidc_discovery_url": i.URL, "oidc_discovery_ca_pem": i.ca()}))(t)
	must(c.Logical().Write(at+"/role/ci", object{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"coffer"}, "bound_claims": object{"ref": "main"},
		"claim_mappings": object{"ref": "ref"}, "token_ttl": "10m", "token_policies": []string{"default"},
	}))(t)
	equal(t, "roles", list(t, must(c.Logical().List(at+"/role"))(t), "keys"), []string{"ci"})
	equal(t, "issuer", must(c.Logical().Read(at + "/config"))(t).Data["oidc_discovery_url"], any(i.URL))
	anonymous := as(t, c, "")
	login := func(claims object) (*api.Secret, error) {
		return anonymous.Logical().Write(at+"/login", object{"role": "ci", "jwt": i.sign(t, claims)})
	}
	auth := must(login(object{"sub": "build-7", "aud": "coffer", "ref": "main"}))(t).Auth
	equal(t, "metadata", auth.Metadata, map[string]string{"role": "ci", "ref": "main"})
	equal(t, "lifetime", auth.LeaseDuration, 600)
	_, err := login(object{"sub": "build-7", "aud": "other", "ref": "main"})
	refused(t, err, 400, "error validating token")
	_, err = login(object{"sub": "build-7", "aud": "coffer", "ref": "topic"})
	refused(t, err, 400, `claim "ref" does not match`)
	mine := as(t, c, auth.ClientToken)
	equal(t, "name", must(mine.Auth().Token().LookupSelf())(t).Data["display_name"], any("signed-jwt-build-7"))
	must(mine.Auth().Token().RenewSelf(60))(t)
	must(c.Logical().Delete(at + "/role/ci"))(t)
	_, err = mine.Auth().Token().RenewSelf(60)
	refused(t, err, 400, "no longer exists")
}

func TestProviders(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	i := newIssuer(t)
	at := "auth/" + enabled(t, c, "oidc")
	const back = "http://localhost:8250/oidc/callback"
	must(c.Logical().Write(at+"/config", object{
		"oidc_discovery_url": i.URL, "oidc_discovery_ca_pem": i.ca(), "oidc_client_id": "me", "oidc_client_secret": "s", "default_role": "people",
	}))(t)
	must(c.Logical().Write(at+"/role/people", object{"user_claim": "sub", "allowed_redirect_uris": []string{back}}))(t)
	anonymous := as(t, c, "")
	begun := must(anonymous.Logical().Write(at+"/oidc/auth_url", object{"redirect_uri": back, "client_nonce": "n"}))(t)
	query := must(url.Parse(begun.Data["auth_url"].(string)))(t).Query()
	i.claims = object{"sub": "jon", "aud": "me", "nonce": query.Get("nonce")}
	answer := map[string][]string{"state": query["state"], "code": {"c"}, "client_nonce": {"n"}}
	auth := must(anonymous.Logical().ReadWithData(at+"/oidc/callback", answer))(t).Auth
	equal(t, "metadata", auth.Metadata, map[string]string{"role": "people"})
	_, err := anonymous.Logical().ReadWithData(at+"/oidc/callback", answer)
	refused(t, err, 400, "Expired or missing OAuth state")
	_, err = anonymous.Logical().Write(at+"/oidc/poll", object{"state": query.Get("state"), "client_nonce": "n"})
	refused(t, err, 400, "Expired or missing OAuth state")
}

// cluster mounts kubernetes for a stand-in, with a role "app".
func cluster(t *testing.T, c *api.Client, i *issuer) (path, token string) {
	t.Helper()
	path = enabled(t, c, "kubernetes")
	must(c.Logical().Write("auth/"+path+"/config", object{"kubernetes_host": i.URL, "kubernetes_ca_cert": i.ca(), "disable_local_ca_jwt": true}))(t)
	must(c.Logical().Write("auth/"+path+"/role/app", object{
		"bound_service_account_names": []string{"app"}, "bound_service_account_namespaces": []string{"pr*"}, "audience": "coffer",
	}))(t)
	return path, i.sign(t, object{
		"aud": []string{"coffer"}, "kubernetes.io": object{"namespace": "prod", "serviceaccount": object{"name": "app", "uid": "u"}},
	})
}

func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	i := newIssuer(t)
	path, token := cluster(t, c, i)
	equal(t, "host", must(c.Logical().Read("auth/" + path + "/config"))(t).Data["kubernetes_host"], any(i.URL))
	equal(t, "source", must(c.Logical().Read("auth/" + path + "/role/app"))(t).Data["alias_name_source"], any("serviceaccount_uid"))
	anonymous := as(t, c, "")
	auth := must(anonymous.Logical().Write("auth/"+path+"/login", object{"role": "app", "jwt": token}))(t).Auth
	equal(t, "name", auth.Metadata["service_account_name"], "app")
	_, err := anonymous.Logical().Write("auth/"+path+"/login", object{"role": "app", "jwt": i.sign(t, object{"aud": "coffer"})})
	refused(t, err, 403, "not one of a service account")
	loginAsPod(t, anonymous, path, token)
}
