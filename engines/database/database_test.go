package database_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/coffer-secrets/coffer/testing/kit"
	"github.com/coffer-secrets/coffer/testing/pgserver"
)

// server is one for all tests of the package.
var server *pgserver.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = pgserver.Start(); err != nil {
		panic(err)
	}
	defer func() { _ = server.Close() }()
	m.Run()
}

type body = map[string]any

const creation = `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO "{{name}}";`

func exec(t *testing.T, text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL(pgserver.Admin, pgserver.Password, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

// logsIn reports whether a user can log in.
func logsIn(t *testing.T, user, password string) bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL(user, password, "postgres"))
	if err == nil {
		_ = conn.Close(context.Background())
	}
	return err == nil
}

func connection(changes body) body {
	out := body{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "app*,readonly", "connection_url": server.Template("postgres"),
		"username": pgserver.Admin, "password": pgserver.Password,
	}
	for name, value := range changes {
		out[name] = value
	}
	return out
}

func started(t *testing.T, options ...kit.Option) *kit.Server {
	t.Helper()
	s := kit.New(t, options...)
	s.Mount("database", "database", nil)
	s.Put("database/config/orders-db", connection(nil))
	s.Put("database/roles/app", body{"db_name": "orders-db", "creation_statements": creation, "default_ttl": "1h", "max_ttl": "4h"})
	return s
}

type credential struct{ lease, user, password string }

func creds(s *kit.Server, path string) credential {
	r := s.Get("database/creds/" + path)
	return credential{r.Text("lease_id"), r.Text("data", "username"), r.Text("data", "password")}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := started(t)
	r := s.Get("database/creds/app")
	c := credential{r.Text("lease_id"), r.Text("data", "username"), r.Text("data", "password")}
	if fmt.Sprint(r.At("lease_duration")) != "3600" || r.Body["renewable"] != true || !strings.HasPrefix(c.lease, "database/creds/app/") || !strings.HasPrefix(c.user, "v-root-app-") {
		t.Errorf("got %s", r.Raw)
	}
	if !logsIn(t, c.user, c.password) {
		t.Error("the credential is refused")
	}
	s.Put("sys/leases/renew", body{"lease_id": c.lease, "increment": "2h"})
	s.Put("sys/leases/revoke", body{"lease_id": c.lease, "sync": true})
	if logsIn(t, c.user, c.password) {
		t.Error("a revoked credential logs in")
	}
	var list []credential
	for range 5 {
		list = append(list, creds(s, "app?ttl=10m"))
	}
	s.Put("sys/leases/revoke-prefix/database/creds/app", body{"sync": true})
	for _, c := range list {
		if logsIn(t, c.user, c.password) {
			t.Error("a credential outlives the revocation of its prefix")
		}
	}
}

// TestRefusals: what goes wrong says so, and leaves neither lease nor user.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("database/roles/app-wrong", body{"db_name": "orders-db", "creation_statements": creation + `GRANT nothing TO "{{name}}"; SELECT '{{password}}'`})
	s.Put("database/roles/other", body{"db_name": "orders-db", "creation_statements": creation})
	s.Put("database/config/away", connection(body{"connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/x", "verify_connection": false}))
	s.Put("database/roles/app-away", body{"db_name": "away", "creation_statements": creation})
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"database/creds/unknown":   {http.StatusBadRequest, "unknown role"},
		"database/creds/other":     {http.StatusBadRequest, "not an allowed role"},
		"database/creds/app-wrong": {http.StatusBadGateway, `role \"nothing\" does not exist`},
		"database/creds/app-away":  {http.StatusBadGateway, "cannot be used: no connection to it can be made: nothing listens there"},
	} {
		r := s.Do(kit.Request{Path: path})
		if r.Status != want.status || !strings.Contains(string(r.Raw), want.text) {
			t.Errorf("%s: %d %s", path, r.Status, r.Raw)
		}
		if path == "database/creds/app-wrong" {
			s.Put("sys/leases/revoke-prefix/"+path, body{"sync": true}) // begun already
		}
		if leases := s.Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/" + path}); leases.Status != http.StatusNotFound {
			t.Errorf("%s leaves a lease: %s", path, leases.Raw)
		}
	}
	for name, change := range map[string]body{
		"unknown kind":      {"plugin_name": "none"},
		"wrong password":    {"password": "wrong"},
		"nobody there":      {"connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/x"},
		"no URL":            {"connection_url": ""},
		"a file of ours":    {"connection_url": server.Template("postgres") + "&sslkey=/etc/shadow"},
		"same names":        {"username_template": "{{.RoleName}}"},
		"cut-off names":     {"username_template": "{{ .DisplayName }}-{{ random 20 | truncate 3 }}"},
		"a loop":            {"username_template": "{{ range 9 }}x{{ end }}{{ random 20 }}"},
		"a wide printf":     {"username_template": `{{ printf "%999999d" 1 }}{{ random 20 }}`},
		"another function":  {"username_template": `{{ html "x" }}{{ random 20 }}`},
		"no placeholder":    {"root_rotation_statements": `ALTER ROLE "{{user}}" PASSWORD '{{password}}'`},
		"open quotes":       {"root_rotation_statements": `ALTER ROLE "{{name}}`},
		"unquoted password": {"root_rotation_statements": `SELECT 'x', $$ {{password}}`},
	} {
		r := s.Do(kit.Request{Method: http.MethodPut, Path: "database/config/bad", Body: connection(change)})
		if r.Status != http.StatusBadRequest || strings.Contains(string(r.Raw), pgserver.Password) {
			t.Errorf("%s: %d %s", name, r.Status, r.Raw)
		}
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "database/config/bad"})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "database/roles/app-bad", Body: body{"db_name": "orders-db", "creation_statements": `CREATE ROLE "{{nam}}"`}})
	s.Put("database/roles/app-good", body{"db_name": "orders-db", "creation_statements": creation + `SELECT '{{1,2}}'::int[], '{{"{{ name }}"}}'::text[]`})
	if c := creds(s, "app-good"); !logsIn(t, c.user, c.password) {
		t.Error("braces of arrays are not left alone")
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("database/config/orders-db", body{"username_template": "app-{{ random 12 | lowercase }}", "max_open_connections": 2, "password_policy": "digits"})
	s.Put("sys/policies/password/digits", body{"policy": `length = 12 rule "charset" { charset = "0123456789'" }`})
	r := s.Get("database/config/orders-db")
	if strings.Contains(string(r.Raw), "first") || fmt.Sprint(r.At("data", "connection_details", "max_open_connections")) != "2" || r.Text("data", "plugin_name") != "postgresql-database-plugin" {
		t.Errorf("got %s", r.Raw)
	}
	c := creds(s, "app")
	if !strings.HasPrefix(c.user, "app-") || len(c.password) != 12 || strings.Trim(c.password, "0123456789'") != "" || !logsIn(t, c.user, c.password) {
		t.Errorf("user %s with %d characters is wrong", c.user, len(c.password))
	}
	s.Put("database/config/plain", connection(body{"connection_url": server.URL(pgserver.Admin, "pa55word", "postgres"), "verify_connection": false}))
	if r := s.Get("database/config/plain"); strings.Contains(string(r.Raw), "pa55word") {
		t.Errorf("shows a password: %s", r.Raw)
	}
	r = s.Get("database/roles/app")
	if got := r.Strings("data", "creation_statements"); len(got) != 1 || got[0] != strings.TrimSpace(creation) || fmt.Sprint(r.At("data", "max_ttl")) != "14400" {
		t.Errorf("got %s", r.Raw)
	}
	s.Put("database/reset/orders-db", nil)
	if r := s.Put("database/reload/postgresql-database-plugin", nil); fmt.Sprint(r.At("data", "count")) != "2" {
		t.Errorf("got %s", r.Raw)
	}
	s.Put("sys/leases/revoke-prefix/database", body{"sync": true})
	s.Delete("database/roles/app")
	s.Must(http.StatusNotFound, kit.Request{Method: "LIST", Path: "database/roles"})
	s.Delete("database/config/plain")
	s.Must(http.StatusNotFound, kit.Request{Path: "database/config/plain"})
}

// TestRoleThatIsGone: a lease knows by itself how it ends, but statements that
// were put right since come first.
func TestRoleThatIsGone(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("database/roles/app", body{"revocation_statements": `DROP OWNED BY "{{name}}"; DROP ROLE "{{name}}"`})
	c := creds(s, "app")
	s.Delete("database/roles/app")
	s.Put("sys/leases/revoke", body{"lease_id": c.lease, "sync": true})
	if logsIn(t, c.user, c.password) {
		t.Error("a revoked credential logs in")
	}
}

func TestRotateRoot(t *testing.T) {
	t.Parallel()
	s := started(t)
	exec(t, `DROP ROLE IF EXISTS "it's me"; CREATE ROLE "it's me" LOGIN SUPERUSER PASSWORD 'known'`)
	s.Put("database/config/orders-db", body{"username": "it's me", "password": "known"})
	for range 2 {
		s.Put("database/rotate-root/orders-db", nil)
	}
	if logsIn(t, "it's me", "known") {
		t.Error("the password that was rotated is good")
	}
	c := creds(s, "app")
	// Somebody else's failure to set a new one leaves the old one in use.
	s.Put("database/config/orders-db", body{"root_rotation_statements": "SELECT 1 FROM nothing"})
	if r := s.Do(kit.Request{Method: http.MethodPut, Path: "database/rotate-root/orders-db"}); r.Status != http.StatusBadGateway {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
	creds(s, "app")
	s.Put("database/config/orders-db", body{"root_rotation_statements": ""})
	s.Put("database/rotate-root/orders-db", nil)
	s.Put("sys/leases/revoke", body{"lease_id": c.lease, "sync": true})
	if logsIn(t, c.user, c.password) {
		t.Error("a revoked credential logs in")
	}
	s.Put("sys/leases/revoke-prefix/database", body{"sync": true})
}

// TestDown stops the database, with a kill, under leases: requests fail at once
// after a while, others' databases go on, and what was revoked meanwhile is gone
// once it is back.
func TestDown(t *testing.T) {
	t.Parallel()
	own, err := pgserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	s := started(t)
	s.Put("database/config/own", connection(body{"connection_url": own.Template("postgres")}))
	s.Put("database/roles/app-own", body{"db_name": "own", "creation_statements": creation})
	c := creds(s, "app-own")
	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	texts := ""
	for range 4 {
		texts += string(s.Must(http.StatusBadGateway, kit.Request{Path: "database/creds/app-own"}).Raw)
	}
	if !strings.Contains(texts, "is asked again in") {
		t.Errorf("no rest: %s", texts)
	}
	s.Must(http.StatusBadGateway, kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Body: body{"lease_id": c.lease}})
	creds(s, "app")
	if err := own.Resume(); err != nil {
		t.Fatal(err)
	}
	s.Put("database/reset/own", nil)
	in := func() bool {
		conn, err := pgx.Connect(t.Context(), own.URL(c.user, c.password, "postgres"))
		if err == nil {
			_ = conn.Close(context.Background())
		}
		return err == nil
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); in(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the revoked user is still there")
		}
	}
	if fresh := creds(s, "app-own"); fresh.user == "" {
		t.Error("no credential from the database that is back")
	}
}

// TestExpiry ends users by cluster time.
func TestExpiry(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := started(t, kit.At(clock))
	c := creds(s, "app?ttl=10m")
	clock.Advance(11 * time.Minute)
	s.Put("sys/leases/tidy", nil)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); logsIn(t, c.user, c.password); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the user outlives its lease")
		}
	}
}
