package conformance_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// TestIdentityTokens takes the calls; whether the tokens verify is tested where
// they are made.
func TestIdentityTokens(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	l := c.Logical()
	must(l.Write("identity/oidc/key/conformance", object{"algorithm": "ES256", "allowed_client_ids": []string{"*"}, "rotation_period": "1h", "verification_ttl": "1h"}))(t)
	equal(t, "ttl", number(t, must(l.Read("identity/oidc/key/conformance"))(t).Data["verification_ttl"]), int64(3600))
	must(l.Write("identity/oidc/key/conformance/rotate", object{"verification_ttl": "10m"}))(t)
	must(l.Write("identity/oidc/role/conformance", object{"key": "conformance", "ttl": "10m", "client_id": "app"}))(t)
	equal(t, "keys", list(t, must(l.List("identity/oidc/key"))(t), "keys"), []string{"conformance", "default"})

	entity, _ := must(l.Write("identity/entity", object{"name": "conformance"}))(t).Data["id"].(string)
	must(l.Write("identity/oidc/assignment/conformance", object{"entity_ids": []string{entity}}))(t)
	must(l.Write("identity/oidc/scope/conformance", object{"template": `{"name": {{identity.entity.name}}}`}))(t)
	must(l.Write("identity/oidc/client/conformance", object{"redirect_uris": []string{"https://app.example/"}, "assignments": []string{"conformance"}, "key": "conformance", "id_token_ttl": "10m"}))(t)
	id, _ := must(l.Read("identity/oidc/client/conformance"))(t).Data["client_id"].(string)
	must(l.Write("identity/oidc/provider/conformance", object{"allowed_client_ids": []string{id}, "scopes_supported": []string{"conformance"}}))(t)
	holds(t, "the issuer", strings.HasSuffix(must(l.Read("identity/oidc/provider/conformance"))(t).Data["issuer"].(string), "/v1/identity/oidc/provider/conformance"))

	for _, path := range []string{"identity/oidc/.well-known/keys", "identity/oidc/provider/conformance/.well-known/keys"} {
		resp := must(l.ReadRaw(path))(t)
		var set struct {
			Keys []struct {
				Algorithm string `json:"alg"`
			} `json:"keys"`
		}
		check(t, json.NewDecoder(resp.Body).Decode(&set))
		check(t, resp.Body.Close())
		holds(t, path, len(set.Keys) == 3 && set.Keys[0].Algorithm == "ES256")
	}
	equal(t, "issuer", must(l.Read("identity/oidc/config"))(t).Data["issuer"], "")

	_, err := l.Read("identity/oidc/token/conformance")
	refused(t, err, http.StatusBadRequest, "no entity")
	check(t, c.Sys().EnableAuthWithOptions("tellers", &api.EnableAuthOptions{Type: "userpass"}))
	t.Cleanup(func() { check(t, c.Sys().DisableAuth("tellers")) })
	must(l.Write("auth/tellers/users/bob", object{"password": "secret", "token_policies": policy(t, c, `path "identity/oidc/token/+" { capabilities = ["read"] }`)}))(t)
	mine := as(t, c, "")
	bob := must(mine.Auth().Login(t.Context(), withPassword{"tellers", "bob", "secret"}))(t).Auth.EntityID
	token, _ := must(mine.Logical().Read("identity/oidc/token/conformance"))(t).Data["token"].(string)
	claims := claimsOf(t, token)
	equal(t, "claims", []any{claims["sub"], claims["aud"], claims["namespace"]}, []any{bob, "app", "root"})

	for _, path := range []string{"provider/conformance", "client/conformance", "scope/conformance", "assignment/conformance", "role/conformance", "key/conformance"} {
		must(l.Delete("identity/oidc/" + path))(t)
	}
	must(l.Delete("identity/entity/id/" + entity))(t)
}

// claimsOf reads the claims of a token.
func claimsOf(t *testing.T, token string) (claims object) {
	t.Helper()
	parts := strings.Split(token, ".")
	equal(t, "parts", len(parts), 3)
	check(t, json.Unmarshal(must(base64.RawURLEncoding.DecodeString(parts[1]))(t), &claims))
	return claims
}
