package releases_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/testing/harness"
)

// part is something else that a release keeps, and how to see that it still works.
type part struct {
	name  string
	fill  func(s *harness.Server)
	holds func(t *testing.T, s *harness.Server)
}

// parts are kept by the releases whose folder names them. A new one is added here,
// and the folder of what is unreleased is made anew.
var parts = []part{
	{"identity", fillIdentity, holdsIdentity},
	{"pki", fillPKI, holdsPKI},
	{"settings", fillSettings, holdsSettings},
}

// fillIdentity writes an entity whose alias logs in, its group, and a key.
func fillIdentity(s *harness.Server) {
	accessor := s.Root(http.MethodGet, "sys/auth", nil)["data"].(map[string]any)["userpass/"].(map[string]any)["accessor"]
	entity := s.Root(http.MethodPost, "identity/entity", map[string]any{"name": "countess", "metadata": map[string]string{"team": "engines"}})
	id := entity["data"].(map[string]any)["id"]
	s.Root(http.MethodPost, "identity/entity-alias", map[string]any{"name": "ada", "canonical_id": id, "mount_accessor": accessor})
	s.Root(http.MethodPost, "identity/group", map[string]any{"name": "staff", "member_entity_ids": []any{id}, "policies": []string{"reader"}})
	s.Root(http.MethodPost, "identity/oidc/key/named", map[string]any{"allowed_client_ids": "*", "rotation_period": "8760h", "verification_ttl": "8760h"})
	s.Root(http.MethodPost, "identity/oidc/role/app", map[string]any{"key": "named", "ttl": "1h"})
}

func holdsIdentity(t *testing.T, s *harness.Server) {
	t.Helper()
	want(t, s, "identity/entity/name/countess", "data", "metadata", "team", "engines")
	want(t, s, "identity/group/name/staff", "data", "name", "staff")
	login := s.Root(http.MethodPost, "auth/userpass/login/ada", map[string]string{"password": "made-up-password"})
	auth, _ := login["auth"].(map[string]any)
	entity, _ := s.Root(http.MethodGet, "identity/entity/name/countess", nil)["data"].(map[string]any)
	if auth["entity_id"] != entity["id"] || fmt.Sprint(auth["identity_policies"]) != "[reader]" {
		t.Errorf("ada logs in as %v with %v, want %v with [reader]", auth["entity_id"], auth["identity_policies"], entity["id"])
	}
	token, _ := auth["client_token"].(string)
	if status, answer := s.Do(http.MethodGet, "identity/oidc/token/app", token, nil); status != http.StatusForbidden {
		t.Errorf("an identity token that policy denies: status %d: %s", status, answer)
	}
	keys, _ := s.Root(http.MethodGet, "identity/oidc/.well-known/keys", nil)["keys"].([]any)
	if len(keys) == 0 {
		t.Error("no key of identity tokens is published")
	}
}

// years is longer than any of these folders is kept.
const years = "438000h"

// fillPKI makes a root, a role, and two certificates of which one is revoked.
func fillPKI(s *harness.Server) {
	s.Root(http.MethodPost, "sys/mounts/pki", map[string]any{"type": "pki", "config": map[string]string{"max_lease_ttl": years}})
	s.Root(http.MethodPost, "pki/root/generate/internal", map[string]any{"common_name": "made up", "ttl": years})
	s.Root(http.MethodPost, "pki/roles/app", map[string]any{"allow_any_name": true, "key_type": "ec", "ttl": "400000h", "max_ttl": "400000h"})
	s.Root(http.MethodPost, "pki/issue/app", map[string]any{"common_name": "kept.example.com"})
	data, _ := s.Root(http.MethodPost, "pki/issue/app", map[string]any{"common_name": "revoked.example.com"})["data"].(map[string]any)
	s.Root(http.MethodPost, "pki/revoke", map[string]any{"serial_number": data["serial_number"]})
}

func holdsPKI(t *testing.T, s *harness.Server) {
	t.Helper()
	status, answer := s.Do("LIST", "pki/certs/revoked", s.RootToken, nil)
	if status != http.StatusOK {
		t.Fatalf("no certificate is revoked: status %d: %s", status, answer)
	}
	serials, _ := s.Root("LIST", "pki/certs", nil)["data"].(map[string]any)["keys"].([]any)
	revoked := 0
	for _, serial := range serials {
		data, _ := s.Root(http.MethodGet, fmt.Sprintf("pki/cert/%s", serial), nil)["data"].(map[string]any)
		if fmt.Sprint(data["revocation_time"]) != "0" {
			revoked++
		}
	}
	if len(serials) < 3 || revoked != 1 { // the root's is one of them
		t.Errorf("%d certificates, of which %d are revoked", len(serials), revoked)
	}
	made, _ := s.Root(http.MethodPost, "pki/issue/app", map[string]any{"common_name": "later.example.com"})["data"].(map[string]any)
	if made["certificate"] == "" || made["issuing_ca"] == "" {
		t.Errorf("no certificate is issued: %v", made)
	}
}

// fillSettings writes what engines and the system are told.
func fillSettings(s *harness.Server) {
	s.Root(http.MethodPost, "cubbyhole/own", map[string]string{"value": "of the root token"})
	s.Root(http.MethodPost, "sys/quotas/rate-limit/some", map[string]any{"rate": 12345, "path": "kv1"})
	s.Root(http.MethodPut, "sys/policies/password/long", map[string]string{"policy": "length = 33\nrule \"charset\" {\n  charset = \"abcdefghij\"\n}\n"})
	s.Root(http.MethodPost, "sys/mounts/database", map[string]any{"type": "database", "description": "nobody there"})
	s.Root(http.MethodPost, "database/config/away", map[string]any{
		"plugin_name": "postgresql-database-plugin", "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/x",
		"username": "made-up", "password": "made-up", "verify_connection": false, "allowed_roles": "app",
	})
	s.Root(http.MethodPost, "database/roles/app", map[string]any{"db_name": "away", "creation_statements": []string{"CREATE ROLE \"{{name}}\""}})
}

func holdsSettings(t *testing.T, s *harness.Server) {
	t.Helper()
	want(t, s, "cubbyhole/own", "data", "value", "of the root token")
	want(t, s, "sys/quotas/rate-limit/some", "data", "path", "kv1/")
	made, _ := s.Root(http.MethodGet, "sys/policies/password/long/generate", nil)["data"].(map[string]any)
	if password, _ := made["password"].(string); len(password) != 33 {
		t.Errorf("a password of %d letters", len(password))
	}
	want(t, s, "database/roles/app", "data", "db_name", "away")
	want(t, s, "database/config/away", "data", "connection_details", "username", "made-up")
}
