package aws_test

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestIdentityTokens: AWS, which knows the keys that are published, lets the mount
// assume a role by its own token, and no other mount.
func TestIdentityTokens(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s, f := started(t, kit.At(clock))
	s.Put("identity/oidc/config", body{"issuer": "https://coffer.example"})
	const admin = "arn:aws:iam::123456789012:role/coffer"
	f.AddRole(admin, awsfake.Role{Admin: true})
	subject := "plugin-identity:root:secret:" + s.Get("sys/mounts/aws").Text("data", "accessor")
	var asked, refusals atomic.Int64
	f.Trust(func(token, role string) bool {
		asked.Add(1)
		var keys jose.JSONWebKeySet
		r := s.Do(kit.Request{Path: "identity/oidc/plugins/.well-known/keys", Token: kit.NoToken})
		parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
		if err != nil || json.Unmarshal(r.Raw, &keys) != nil {
			return false
		}
		var claims jwt.Claims
		err = parsed.Claims(keys, &claims)
		if err == nil {
			err = claims.Validate(jwt.Expected{
				Issuer: "https://coffer.example/v1/identity/oidc/plugins", Subject: subject, AnyAudience: jwt.Audience{"sts.amazonaws.com"}, Time: clock.Wall(),
			})
		}
		if err != nil || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) != 20*time.Minute {
			refusals.Add(1)
			return false
		}
		return role == admin
	})
	root := func(changes body) body {
		return with(body{
			"iam_endpoint": f.URL, "sts_endpoint": f.URL, "role_arn": admin, "identity_token_audience": "sts.amazonaws.com", "identity_token_ttl": "20m",
		}, changes)
	}
	s.Put("aws/config/root", root(nil))
	if r := s.Get("aws/config/root"); r.Text("data", "identity_token_audience") != "sts.amazonaws.com" || r.Text("data", "access_key") != "" {
		t.Errorf("config/root shows %s", r.Raw)
	}
	s.Put("aws/roles/dev", body{"credential_type": "iam_user", "iam_groups": "devs"})
	s.Put("aws/roles/reader", body{"credential_type": "assumed_role", "role_arns": reader})
	r := s.Get("aws/creds/dev")
	if caller(t, f, r) == "" || caller(t, f, s.Get("aws/sts/reader")) == "" {
		t.Error("the credentials are not taken")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("AWS was asked for %d sessions for two credentials", n)
	}
	revoke(s, r)
	if len(f.Users()) > 0 {
		t.Errorf("the users %q are left", f.Users())
	}
	f.AddUser("app")
	s.Put("aws/static-roles/app", body{"username": "app", "rotation_period": "24h"})
	if caller(t, f, s.Get("aws/static-creds/app")) == "" {
		t.Error("the key of the static role is not taken")
	}
	s.Mount("other", "aws", nil)
	s.Put("other/config/root", root(nil))
	s.Put("other/roles/dev", body{"credential_type": "iam_user", "iam_groups": "devs"})
	refused(t, s, http.StatusBadRequest, "identity_token_audience and role_arn of config/root: AWS refused: InvalidIdentityToken", kit.Request{Path: "other/creds/dev"})
	if refusals.Load() == 0 {
		t.Error("the stand-in did not refuse the other mount's token")
	}
	for want, changes := range map[string]body{
		"together with access_key":                  {"access_key": "AKIAAAAAAAAAAAAAAAAA", "secret_key": "x"},
		"role_arn is missing":                       {"role_arn": ""},
		"identity_token_ttl has to be at least":     {"identity_token_ttl": "1s"},
		"there is no key to change without access_": {"rotation_period": "24h"},
	} {
		refused(t, s, http.StatusBadRequest, want, kit.Request{Method: http.MethodPut, Path: "aws/config/root", Body: root(changes)})
	}
	s.Put("aws/config/root", root(body{"identity_token_ttl": "48h"}))
	refused(t, s, http.StatusBadRequest, "verification_ttl", kit.Request{Path: "aws/creds/dev"})
}
