package auth_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// TestRenewing: a token can be renewed as long as its holder could log in with
// the same rights, and dies with the way that it came by.
func TestRenewing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config, login string
		credentials   func(s *kit.Server) body
		role          string
		// bound says that other policies stop renewals.
		bound bool
	}{
		"userpass": {
			login: "auth/userpass/login/u", role: "auth/userpass/users/u", bound: true,
			credentials: func(*kit.Server) body { return body{"password": "long enough"} },
		},
		"approle": {
			login: "auth/approle/login", role: "auth/approle/role/r",
			credentials: func(s *kit.Server) body {
				id := s.Get("auth/approle/role/r/role-id").Text("data", "role_id")
				return body{"role_id": id, "secret_id": s.Put("auth/approle/role/r/secret-id", nil).Text("data", "secret_id")}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := kit.New(t)
			s.Put("sys/auth/"+name, body{"type": name})
			s.Put(c.role, body{"password": "long enough", "token_policies": "a", "token_ttl": "1h", "token_max_ttl": "4h"})
			login := func() *kit.Response {
				return s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: c.login, Token: kit.NoToken, Body: c.credentials(s)})
			}
			token := login().Text("auth", "client_token")
			renew := func(want int) *kit.Response {
				t.Helper()
				return s.Must(want, kit.Request{Method: http.MethodPut, Path: "auth/token/renew-self", Token: token})
			}
			renew(http.StatusOK)
			// The role's present times hold.
			s.Put(c.role, body{"token_ttl": "30m"})
			if got := renew(http.StatusOK).At("auth", "lease_duration"); got != json.Number("1800") {
				t.Errorf("renewed for %v s, want 1800", got)
			}
			s.Put(c.role, body{"token_policies": "b"})
			if c.bound {
				renew(http.StatusBadRequest)
				s.Put(c.role, body{"token_policies": "a"})
			}
			renew(http.StatusOK)
			s.Delete(c.role)
			renew(http.StatusBadRequest)

			s.Put(c.role, body{"password": "long enough", "token_policies": "a"})
			token = login().Text("auth", "client_token")
			s.Policy("a", `path "auth/token/create" { capabilities = ["update"] }`)
			child := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create", Token: token})
			batch := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create", Token: token, Body: body{"type": "batch"}})
			s.Delete("sys/auth/" + name)
			s.Put("sys/auth/"+name, body{"type": name})
			for _, token := range []string{token, child.Text("auth", "client_token"), batch.Text("auth", "client_token")} {
				s.Must(http.StatusForbidden, kit.Request{Path: "auth/token/lookup-self", Token: token})
			}
		})
	}
}
