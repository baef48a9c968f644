package userpass_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

func started(t *testing.T, options ...kit.Option) *kit.Server {
	t.Helper()
	s := kit.New(t, options...)
	s.Put("sys/auth/userpass", body{"type": "userpass"})
	return s
}

// cheap is a hash that takes little time, for tests that try often.
func cheap(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func login(s *kit.Server, name, password string) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPost, Path: "auth/userpass/login/" + name, Token: kit.NoToken, Body: body{"password": password}})
}

func expect(t *testing.T, r *kit.Response, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(string(r.Raw), text) {
		t.Errorf("answered %d %s, want %d with %q", r.Status, r.Raw, status, text)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Policy("app", `path "cubbyhole/x" { capabilities = ["read"] }`)
	s.Put("auth/userpass/users/Alice", body{"password": "correct horse", "token_policies": "App ", "token_ttl": "1h", "token_max_ttl": "2h"})
	r := s.Get("auth/userpass/users/ALICE")
	if got := r.Strings("data", "token_policies"); len(got) != 1 || got[0] != "app" {
		t.Errorf("read %s", r.Raw)
	}
	if strings.Contains(string(r.Raw), "hash") || strings.Contains(string(r.Raw), "horse") {
		t.Errorf("the answer tells of the password: %s", r.Raw)
	}
	r = login(s, "aLiCe", "correct horse")
	if r.Status != http.StatusOK || r.At("auth", "lease_duration") != json.Number("3600") || r.Text("auth", "metadata", "username") != "alice" ||
		r.At("auth", "renewable") != true || r.At("auth", "orphan") != true || r.Text("auth", "entity_id") == "" {
		t.Fatalf("answered %d %s", r.Status, r.Raw)
	}
	token := r.Text("auth", "client_token")
	look := s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: token})
	if look.Text("data", "display_name") != "userpass-alice" || look.Text("data", "path") != "auth/userpass/login/aLiCe" {
		t.Errorf("looked up %s", look.Raw)
	}
	expect(t, login(s, "alice", "wrong"), http.StatusBadRequest, "invalid username or password")
	expect(t, login(s, "nobody", "wrong"), http.StatusBadRequest, "invalid username or password")
	s.Put("auth/userpass/users/hashed", body{"password_hash": "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "policies": "A,b", "ttl": 60, "max_ttl": "2m"})
	expect(t, login(s, "hashed", "U*U"), http.StatusOK, "client_token")
	s.Put("auth/userpass/users/hashed/policies", body{"token_policies": "c"})
	r = s.Get("auth/userpass/users/hashed")
	if r.At("data", "token_ttl") != json.Number("60") || r.Strings("data", "token_policies")[0] != "c" {
		t.Errorf("read %s", r.Raw)
	}
	if names := s.List("auth/userpass/users").Strings("data", "keys"); len(names) != 2 || names[0] != "alice" {
		t.Errorf("listed %v", names)
	}
	s.Put("auth/userpass/users/alice/password", body{"password": "another"})
	expect(t, login(s, "alice", "correct horse"), http.StatusBadRequest, "invalid username or password")
	expect(t, login(s, "alice", "another"), http.StatusOK, "client_token")
	s.Delete("auth/userpass/users/alice")
	expect(t, login(s, "alice", "another"), http.StatusBadRequest, "invalid username or password")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := started(t)
	long := strings.Repeat("x", 72)
	s.Put("auth/userpass/users/long", body{"password": long})
	expect(t, login(s, "long", long+"y"), http.StatusBadRequest, "invalid username or password")
	expect(t, login(s, "long", long), http.StatusOK, "client_token")
	s.Put("auth/userpass/users/short", body{"password": "a"})
	expect(t, login(s, "short", "a\x00a"), http.StatusBadRequest, "invalid username or password")
	s.Put("auth/userpass/users/away", body{"password_hash": cheap(t, "right"), "token_bound_cidrs": "192.0.2.0/24"})
	for range 5 {
		expect(t, login(s, "away", "right"), http.StatusBadRequest, "invalid username or password")
	}
	expect(t, login(s, "away", "right"), http.StatusForbidden, "permission denied")
	for path, b := range map[string]body{
		"users/a":          {"password": long + "y"},
		"users/b":          {"token_policies": "default"},
		"users/c":          {"password": "p", "token_policies": "Root"},
		"users/d":          {"password": "p", "password_hash": "$2a$10$x"},
		"users/e":          {"password_hash": "plain"},
		"users/i":          {"password_hash": "$2a$31$" + strings.Repeat("x", 53)},
		"users/j":          {"password_hash": "$2a$10$" + strings.Repeat("!", 53)},
		"users/k":          {"password": "p", "password_hash": "$2a$10$" + strings.Repeat("x", 53)},
		"users/l":          {"password": "zero\x00byte"},
		"users/m":          {"password": "p", "policies": "root"},
		"users/n":          {"password": "p", "token_type": "odd"},
		"users/f":          {"password": "p", "token_ttl": "2h", "token_max_ttl": "1h"},
		"users/g":          {"password": "p", "token_bound_cidrs": "everywhere"},
		"users/h/password": {"password": "p"},
		"login/long":       {},
	} {
		before := s.Index()
		if r := s.Do(kit.Request{Method: http.MethodPost, Path: "auth/userpass/" + path, Body: b}); r.Status != http.StatusBadRequest {
			t.Errorf("%s: answered %d %s", path, r.Status, r.Raw)
		}
		if s.Index() != before {
			t.Errorf("%s changed something", path)
		}
	}
}

// TestLockout: no spelling of a name gives more tries, a name that does not
// exist is locked like one that does, and the lock ends by cluster time.
func TestLockout(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := started(t, kit.At(clock))
	s.Put("auth/userpass/users/bob", body{"password_hash": cheap(t, "right")})
	for _, spelling := range []string{"bob", "Bob", "BOB", "%20bob", "boB%20"} {
		expect(t, login(s, spelling, "wrong"), http.StatusBadRequest, "invalid username or password")
	}
	expect(t, login(s, "bob", "right"), http.StatusForbidden, "permission denied")
	for range 5 {
		expect(t, login(s, "stranger", "wrong"), http.StatusBadRequest, "invalid username or password")
	}
	expect(t, login(s, "stranger", "wrong"), http.StatusForbidden, "permission denied")
	clock.Advance(16 * time.Minute)
	expect(t, login(s, "bob", "right"), http.StatusOK, "client_token")
	for range 4 {
		login(s, "bob", "wrong")
	}
	expect(t, login(s, "bob", "right"), http.StatusOK, "client_token")
	expect(t, login(s, "bob", "wrong"), http.StatusBadRequest, "invalid username or password")
	s.Put("sys/auth/userpass/tune", body{"user_lockout_config": body{"lockout_disable": "true"}})
	for range 7 {
		login(s, "bob", "wrong")
	}
	expect(t, login(s, "bob", "right"), http.StatusOK, "client_token")
}

// TestGuessesSideBySide: guesses at once are counted one by one.
func TestGuessesSideBySide(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("auth/userpass/users/carol", body{"password_hash": cheap(t, "right")})
	var wg sync.WaitGroup
	var tried atomic.Int64
	for range 12 {
		wg.Go(func() {
			if login(s, "carol", "wrong").Status == http.StatusBadRequest {
				tried.Add(1)
			}
		})
	}
	wg.Wait()
	if n := tried.Load(); n > 5 {
		t.Errorf("%d guesses were looked at, the limit is 5", n)
	}
	expect(t, login(s, "carol", "right"), http.StatusForbidden, "permission denied")
}
