package database_test

import (
	"database/sql"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
	"github.com/coffer-secrets/coffer/testing/mariadbserver"
)

const creationMySQL = `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON *.* TO '{{name}}'@'%';`

func startMariaDB(t *testing.T) *mariadbserver.Server {
	t.Helper()
	own, err := mariadbserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	return own
}

func connectionMySQL(own *mariadbserver.Server) body {
	return body{
		"plugin_name": "mysql-database-plugin", "allowed_roles": "app*", "connection_url": own.Template(""),
		"username": mariadbserver.Admin, "password": mariadbserver.Password,
	}
}

// TestMySQL makes, renews and ends users of MariaDB, and rotates the password.
func TestMySQL(t *testing.T) {
	t.Parallel()
	own := startMariaDB(t)
	s := kit.New(t)
	s.Mount("database", "database", nil)
	s.Put("database/config/my", connectionMySQL(own))
	s.Put("database/roles/app", body{"db_name": "my", "creation_statements": creationMySQL, "default_ttl": "1h"})
	s.Put("database/roles/app-wrong", body{"db_name": "my", "creation_statements": creationMySQL + "GRANT nothing TO '{{name}}'"})
	if r := s.Do(kit.Request{Path: "database/creds/app-wrong"}); r.Status != http.StatusBadGateway || !strings.Contains(string(r.Raw), "nothing") {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
	in := func(c credential) bool {
		db, err := own.Open(c.user, c.password)
		if err != nil {
			t.Fatal(err)
		}
		defer func(db *sql.DB) { _ = db.Close() }(db)
		return db.PingContext(t.Context()) == nil
	}
	s.Put("database/rotate-root/my", nil)
	c := creds(s, "app")
	if !in(c) || len(c.user) > 32 {
		t.Errorf("the credential of %s is refused", c.user)
	}
	s.Put("sys/leases/renew", body{"lease_id": c.lease})
	s.Put("sys/leases/revoke-prefix/database", body{"sync": true})
	if in(c) {
		t.Error("a revoked credential logs in")
	}
	if in(credential{user: mariadbserver.Admin, password: mariadbserver.Password}) {
		t.Error("the password that was rotated is good")
	}
	for url, want := range map[string]string{
		"u:pa/ss@w@tcp(127.0.0.1:1)/": "u:*****@tcp(127.0.0.1:1)/", "u:secret@/x": "u:*****@/x", own.Template("x"): own.Template("x"),
	} {
		s.Put("database/config/masked", body{"plugin_name": "mariadb-database-plugin", "connection_url": url, "verify_connection": false, "password": "p", "tls_skip_verify": true})
		r := s.Get("database/config/masked")
		if got := r.Text("data", "connection_details", "connection_url"); got != want || r.At("data", "connection_details", "tls_skip_verify") != true {
			t.Errorf("shows %s", r.Raw)
		}
	}
}
