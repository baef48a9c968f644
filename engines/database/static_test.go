package database_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
	"github.com/coffer-secrets/coffer/testing/pgserver"
)

// owner makes a user for a static role.
func owner(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		exec(t, fmt.Sprintf(`DROP ROLE IF EXISTS "%s"; CREATE ROLE "%s" LOGIN PASSWORD 'first'`, name, name))
	}
}

func static(username string, changes body) body {
	out := body{"db_name": "orders-db", "username": username, "rotation_period": "1h"}
	for name, value := range changes {
		out[name] = value
	}
	return out
}

func keptBy(s *kit.Server, name string) credential {
	r := s.Get("database/static-creds/" + name)
	return credential{user: r.Text("data", "username"), password: r.Text("data", "password")}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(20 * time.Second); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so in time: %s", what)
		}
	}
}

func TestStaticRole(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := started(t, kit.At(clock))
	owner(t, "static-one")
	s.Put("database/static-roles/app-one", static("static-one", nil))
	c := keptBy(s, "app-one")
	if c.user != "static-one" || !logsIn(t, c.user, c.password) || logsIn(t, c.user, "first") {
		t.Fatal("the password was not changed at once")
	}
	r := s.Get("database/static-creds/app-one")
	if fmt.Sprint(r.At("data", "rotation_period")) != "3600" || r.Text("data", "last_vault_rotation") == "" || r.At("data", "ttl") == nil {
		t.Errorf("got %s", r.Raw)
	}
	r = s.Get("database/static-roles/app-one")
	if strings.Contains(string(r.Raw), c.password) || r.Text("data", "db_name") != "orders-db" || r.Text("data", "credential_type") != "password" {
		t.Errorf("got %s", r.Raw)
	}
	s.Put("database/rotate-role/app-one", nil)
	second := keptBy(s, "app-one")
	if second.password == c.password || !logsIn(t, c.user, second.password) || logsIn(t, c.user, c.password) {
		t.Error("rotate-role does not change the password")
	}
	clock.Advance(59 * time.Minute)
	s.Put("database/static-roles/app-one", body{"rotation_period": "2h"})
	clock.Advance(59 * time.Minute)
	if keptBy(s, "app-one") != second {
		t.Error("the password is changed before its time")
	}
	clock.Advance(3 * time.Minute)
	until(t, "the password is changed", func() bool { return keptBy(s, "app-one") != second })
	third := keptBy(s, "app-one")
	if !logsIn(t, third.user, third.password) {
		t.Error("the password is refused")
	}
	s.Delete("database/static-roles/app-one")
	s.Must(http.StatusNotFound, kit.Request{Path: "database/static-roles/app-one"})
	s.Must(http.StatusBadRequest, kit.Request{Path: "database/static-creds/app-one"})
	s.Put("database/static-roles/app-again", static("static-one", nil)) // the user is free again
}

// TestStaticPair has two users take turns: the one before is good until its turn.
func TestStaticPair(t *testing.T) {
	t.Parallel()
	s := started(t)
	owner(t, "pair-a", "pair-b")
	s.Put("database/static-roles/app-pair", body{"db_name": "orders-db", "usernames": "pair-a,pair-b", "rotation_period": "1h"})
	before := keptBy(s, "app-pair")
	for range 3 {
		s.Put("database/rotate-role/app-pair", nil)
		now := keptBy(s, "app-pair")
		if now.user == before.user || !logsIn(t, now.user, now.password) || !logsIn(t, before.user, before.password) {
			t.Fatalf("%s and %s are not good side by side", before.user, now.user)
		}
		before = now
	}
}

func TestStaticSchedule(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := started(t, kit.At(clock))
	owner(t, "static-cron")
	s.Put("database/static-roles/app-cron", body{"db_name": "orders-db", "username": "static-cron", "rotation_schedule": "0 3 * * *", "rotation_window": "1h"})
	first := keptBy(s, "app-cron")
	r := s.Get("database/static-creds/app-cron")
	if r.Text("data", "rotation_schedule") != "0 3 * * *" || fmt.Sprint(r.At("data", "rotation_window")) != "3600" || r.At("data", "rotation_period") != nil {
		t.Errorf("got %s", r.Raw)
	}
	now := clock.Wall().UTC()
	next := time.Date(now.Year(), now.Month(), now.Day(), 3, 0, 0, 0, time.UTC)
	if !next.After(now) {
		next = next.AddDate(0, 0, 1)
	}
	clock.Advance(next.Sub(now) - time.Minute)
	if keptBy(s, "app-cron") != first {
		t.Error("the password is changed before its time")
	}
	clock.Advance(2 * time.Minute)
	until(t, "the password is changed", func() bool { return keptBy(s, "app-cron") != first })
	second := keptBy(s, "app-cron")
	// A node that was away for the whole window waits for the next one.
	clock.Advance(26 * time.Hour)
	until(t, "the time is passed over", func() bool {
		ttl := fmt.Sprint(s.Get("database/static-creds/app-cron").At("data", "ttl"))
		return ttl != "0"
	})
	if keptBy(s, "app-cron") != second {
		t.Error("the password is changed after its window")
	}
}

// TestStaticImport leaves a password as it is, and has a user change its own.
func TestStaticImport(t *testing.T) {
	t.Parallel()
	s := started(t)
	owner(t, "static-kept", "static-own", "static-unknown")
	s.Put("database/static-roles/app-kept", static("static-kept", body{"skip_import_rotation": true, "password": "first"}))
	if c := keptBy(s, "app-kept"); c.password != "first" || !logsIn(t, c.user, "first") {
		t.Error("the password was changed")
	}
	s.Put("database/static-roles/app-unknown", static("static-unknown", body{"skip_import_rotation": true}))
	if r := s.Get("database/static-creds/app-unknown"); r.At("warnings") == nil {
		t.Errorf("got %s", r.Raw)
	}
	s.Put("database/config/modest", connection(body{"username": "static-kept", "password": "first"}))
	s.Put("database/static-roles/app-own", static("static-own", body{"db_name": "modest", "self_managed_password": "first"}))
	for range 2 {
		if c := keptBy(s, "app-own"); !logsIn(t, c.user, c.password) || logsIn(t, c.user, "first") {
			t.Error("the user did not change its own password")
		}
		s.Put("database/rotate-role/app-own", nil)
	}
}

// TestStaticRefused makes another password where the database takes one not, and
// keeps nothing of a user who is not there.
func TestStaticRefused(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := started(t, kit.At(clock))
	owner(t, "static-picky")
	r := s.Must(http.StatusBadGateway, kit.Request{Method: http.MethodPut, Path: "database/static-roles/app-none", Body: static("nobody-there", nil)})
	if !strings.Contains(string(r.Raw), "does not exist") {
		t.Errorf("got %s", r.Raw)
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "database/static-roles/app-none"})
	s.Put("database/static-roles/app-picky", static("static-picky", nil))
	c := keptBy(s, "app-picky")
	// The database takes only passwords of a policy that Coffer is told of later.
	exec(t, `CREATE TABLE IF NOT EXISTS tries (password text)`)
	exec(t, `CREATE OR REPLACE FUNCTION picky(p text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF p !~ '^[0-9]+$' THEN RAISE EXCEPTION 'not liked: %', p; END IF; EXECUTE format('ALTER ROLE "static-picky" PASSWORD %L', p); END $$`)
	s.Put("database/static-roles/app-picky", body{"rotation_statements": `SELECT picky('{{password}}')`})
	s.Must(http.StatusBadGateway, kit.Request{Method: http.MethodPut, Path: "database/rotate-role/app-picky"})
	if keptBy(s, "app-picky") != c || !logsIn(t, c.user, c.password) {
		t.Error("a refused password is given out")
	}
	if r := s.Get("database/static-roles/app-picky"); !strings.Contains(r.Text("data", "last_error"), "not liked: [password]") {
		t.Errorf("got %s", r.Raw)
	}
	s.Put("sys/policies/password/digits", body{"policy": `length = 12 rule "charset" { charset = "0123456789" }`})
	s.Put("database/static-roles/app-picky", body{"credential_config": body{"password_policy": "digits"}})
	clock.Advance(10 * time.Minute)
	until(t, "another password is made", func() bool { return keptBy(s, "app-picky") != c })
	if c = keptBy(s, "app-picky"); !logsIn(t, c.user, c.password) || len(c.password) != 12 {
		t.Error("the password is refused")
	}
}

func TestStaticBadInput(t *testing.T) {
	t.Parallel()
	s := started(t)
	owner(t, "static-bad", "static-other")
	s.Put("database/static-roles/app-bad", static("static-bad", nil))
	for name, c := range map[string]struct {
		role string
		body body
	}{
		"another user":      {"app-bad", body{"username": "static-other"}},
		"another database":  {"app-bad", body{"db_name": "other"}},
		"another type":      {"app-bad", body{"credential_type": "rsa_private_key"}},
		"a known password":  {"app-bad", body{"password": "x"}},
		"taken":             {"app-two", static("static-bad", nil)},
		"not allowed":       {"other", static("static-other", nil)},
		"no connection":     {"app-two", static("static-other", body{"db_name": "none"})},
		"no user":           {"app-two", static("", nil)},
		"root":              {"app-two", static(pgserver.Admin, nil)},
		"three":             {"app-two", body{"db_name": "orders-db", "usernames": "a,b,c", "rotation_period": "1h"}},
		"one twice":         {"app-two", body{"db_name": "orders-db", "usernames": "a,a", "rotation_period": "1h"}},
		"no time":           {"app-two", body{"db_name": "orders-db", "username": "static-other"}},
		"too often":         {"app-two", static("static-other", body{"rotation_period": "1s"})},
		"two times":         {"app-two", static("static-other", body{"rotation_schedule": "0 3 * * *"})},
		"no cron":           {"app-two", body{"db_name": "orders-db", "username": "static-other", "rotation_schedule": "often"}},
		"a zone":            {"app-two", body{"db_name": "orders-db", "username": "static-other", "rotation_schedule": "TZ=Asia/Tokyo 0 3 * * *"}},
		"never":             {"app-two", body{"db_name": "orders-db", "username": "static-other", "rotation_schedule": "0 3 31 2 *"}},
		"a short window":    {"app-two", body{"db_name": "orders-db", "username": "static-other", "rotation_schedule": "0 3 * * *", "rotation_window": "1m"}},
		"a window alone":    {"app-two", static("static-other", body{"rotation_window": "1h"})},
		"bad statements":    {"app-two", static("static-other", body{"rotation_statements": `ALTER ROLE "{{name}}`})},
		"a certificate":     {"app-two", static("static-other", body{"credential_type": "client_certificate"})},
		"unknown settings":  {"app-two", static("static-other", body{"credential_config": body{"x": "y"}})},
		"a pair that skips": {"app-two", body{"db_name": "orders-db", "usernames": "a,b", "rotation_period": "1h", "skip_import_rotation": true}},
	} {
		r := s.Do(kit.Request{Method: http.MethodPut, Path: "database/static-roles/" + c.role, Body: c.body})
		if r.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, r.Status, r.Raw)
		}
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "database/static-roles/app-two"})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "database/rotate-role/none"})
	if got := s.Do(kit.Request{Method: "LIST", Path: "database/static-roles"}).Strings("data", "keys"); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}

// TestDeleteConnection keeps a connection that leases or static roles need.
func TestDeleteConnection(t *testing.T) {
	t.Parallel()
	s := started(t)
	owner(t, "static-needs")
	s.Put("database/static-roles/app-needs", static("static-needs", nil))
	c := creds(s, "app")
	r := s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodDelete, Path: "database/config/orders-db"})
	if text := string(r.Raw); !strings.Contains(text, "1 leases") || !strings.Contains(text, "1 static roles") || !strings.Contains(text, "force=true") {
		t.Errorf("got %s", text)
	}
	s.Put("sys/leases/revoke", body{"lease_id": c.lease, "sync": true})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodDelete, Path: "database/config/orders-db"})
	s.Delete("database/static-roles/app-needs")
	s.Delete("database/config/orders-db")
	s.Must(http.StatusNotFound, kit.Request{Path: "database/config/orders-db"})
	s.Put("database/config/orders-db", connection(nil))
	creds(s, "app")
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodDelete, Path: "database/config/orders-db?force=true"})
	s.Put("sys/leases/revoke-force/database", nil)
}

// TestKeys: a key goes to the database as its public half.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("database/roles/app-key", body{"db_name": "orders-db", "credential_type": "rsa_private_key", "creation_statements": `CREATE ROLE "{{name}}" LOGIN; COMMENT ON ROLE "{{name}}" IS '{{public_key}}'`})
	r := s.Get("database/creds/app-key")
	if !strings.HasPrefix(r.Text("data", "rsa_private_key"), "-----BEGIN PRIVATE KEY-----") || r.At("data", "password") != nil {
		t.Error("there is no key, or a password")
	}
	s.Put("sys/leases/revoke", body{"lease_id": r.Text("lease_id"), "sync": true})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "database/roles/app-cert", Body: body{"db_name": "orders-db", "credential_type": "client_certificate", "credential_config": body{"ca_cert": "x"}}})
}

// TestStaticAtFollowers reads at every node what the leader has set last.
func TestStaticAtFollowers(t *testing.T) {
	t.Parallel()
	c := kit.NewCluster(t, 3)
	s := c.Leader()
	s.Mount("database", "database", nil)
	s.Put("database/config/orders-db", connection(nil))
	owner(t, "static-read")
	s.Put("database/static-roles/app-read", static("static-read", nil))
	seen := make(map[credential]bool)
	for range 5 {
		for _, follower := range c.Followers() { // which hands the writing on
			until(t, "the password is changed", func() bool { // who is told that it may not have been asks again
				return follower.Do(kit.Request{Method: http.MethodPut, Path: "database/rotate-role/app-read"}).Status == http.StatusNoContent
			})
			now := keptBy(s, "app-read")
			if seen[now] || !logsIn(t, now.user, now.password) {
				t.Fatal("the password was not changed")
			}
			seen[now] = true
			for _, reader := range c.Nodes {
				if keptBy(reader, "app-read") != now {
					t.Error("a node gives out a password that is no longer good")
				}
			}
		}
	}
}
