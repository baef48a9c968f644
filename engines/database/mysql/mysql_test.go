package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines/database"
	"github.com/coffer-secrets/coffer/engines/database/mysql"
	"github.com/coffer-secrets/coffer/testing/mariadbserver"
)

// server is one for all tests of the package.
var server *mariadbserver.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = mariadbserver.Start(); err != nil {
		panic(err)
	}
	defer func() { _ = server.Close() }()
	m.Run()
}

// login opens one session of a user.
func login(t *testing.T, user, password string) (*sql.DB, error) {
	t.Helper()
	db, err := server.Open(user, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	return db, db.PingContext(t.Context())
}

func admin(t *testing.T) *sql.DB {
	t.Helper()
	db, err := login(t, mariadbserver.Admin, mariadbserver.Password)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func exec(t *testing.T, db *sql.DB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// count is the number that a query gives.
func count(t *testing.T, query string, args ...any) int {
	t.Helper()
	var n int
	if err := admin(t).QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// users is how many there are whose names begin like this.
func users(t *testing.T, prefix string) int {
	t.Helper()
	return count(t, "SELECT COUNT(*) FROM mysql.user WHERE User LIKE ?", prefix+"%")
}

func open(t *testing.T, user string, passwords ...string) database.Database {
	t.Helper()
	db, err := mysql.Plugins()[0].Open(&database.Settings{URL: server.Template("mysql"), Username: user, Passwords: passwords, MaxOpen: 4, MaxIdle: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func opened(t *testing.T) database.Database {
	t.Helper()
	return open(t, mariadbserver.Admin, mariadbserver.Password)
}

const creation = `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON mysql.time_zone TO '{{name}}'@'%';`

func user(name string) *database.User {
	return &database.User{Name: name, Password: "pass-" + name, Expires: time.Now().Add(time.Hour), Statements: []string{creation}}
}

func create(t *testing.T, db database.Database, names ...string) []database.User {
	t.Helper()
	var gone []database.User
	for _, name := range names {
		if err := db.Create(t.Context(), user(name)); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, database.User{Name: name})
	}
	return gone
}

func TestLifeOfUser(t *testing.T) {
	t.Parallel()
	db := opened(t)
	gone := create(t, db, "v-life")
	conn, err := login(t, "v-life", "pass-v-life")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "SELECT COUNT(*) FROM mysql.time_zone")
	if err := db.Extend(t.Context(), &database.User{Name: "v-life", Expires: time.Now()}); err != nil {
		t.Fatal(err)
	}
	// Whom somebody let in from elsewhere too is still the same user.
	exec(t, admin(t), "CREATE USER 'v-life'@'10.0.0.1' IDENTIFIED BY 'other'")
	for range 2 {
		if err := errors.Join(db.Revoke(t.Context(), gone)...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.ExecContext(t.Context(), "SELECT 1"); err == nil {
		t.Error("a session outlives its user")
	}
	if users(t, "v-life") != 0 {
		t.Error("the user is there")
	}
}

// TestRevokeMany revokes many, one that was never made, and one that may not go.
func TestRevokeMany(t *testing.T) {
	t.Parallel()
	db := opened(t)
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprintf("v-many-%d", i)
	}
	gone := append(create(t, db, names...), database.User{Name: "never-made"}, database.User{Name: mariadbserver.Admin})
	for i, err := range db.Revoke(t.Context(), gone) {
		var refused *database.Refusal
		if last := i == len(gone)-1; last != errors.As(err, &refused) || !last && err != nil {
			t.Errorf("%s: %v", gone[i].Name, err)
		}
	}
	if users(t, "v-many") != 0 || users(t, mariadbserver.Admin) != 1 {
		t.Error("not those that should are left")
	}
}

// TestWithoutRights revokes with no more than the right to make users.
func TestWithoutRights(t *testing.T) {
	t.Parallel()
	exec(t, admin(t), "CREATE USER modest@'%' IDENTIFIED BY 'modest'", "GRANT CREATE USER ON *.* TO modest@'%'", "CREATE DATABASE modest")
	db, err := mysql.Plugins()[1].Open(&database.Settings{URL: server.Template(""), Username: "modest", Passwords: []string{"modest"}, MaxOpen: 1, MaxIdle: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	u := user("v-modest")
	u.Statements = []string{`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`}
	if err := db.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: "v-modest"}, {Name: "v-modest-never"}})...); err != nil {
			t.Fatal(err)
		}
	}
	if users(t, "v-modest") != 0 {
		t.Error("the user is there")
	}
}

func TestStatementsOfRole(t *testing.T) {
	t.Parallel()
	db := opened(t)
	gone := create(t, db, "v-own")
	gone[0].Statements = []string{"REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{{name}}'@'%'; DROP USER '{{name}}'@'%'; -- done"}
	for range 2 {
		if err := errors.Join(db.Revoke(t.Context(), gone)...); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, admin(t), "CREATE DATABASE own")
	u := user("v-'own\"`\\")
	u.Password = "it's \"\\`"
	u.Statements = []string{
		`CREATE USER '{{name}}'@"%" IDENTIFIED BY "{{password}}"`,
		"CREATE PROCEDURE own.p() BEGIN SELECT ';'; SELECT '{{password}}'; END; CREATE TABLE own.said AS SELECT '{{password}}' AS text, '\\'{{password}}' AS other # {{name}}",
	}
	if err := db.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	var text, other string
	if err := admin(t).QueryRowContext(t.Context(), "SELECT text, other FROM own.said").Scan(&text, &other); err != nil || text != u.Password || other != "'"+u.Password {
		t.Errorf("got %q, %q, %v", text, other, err)
	}
	if _, err := login(t, u.Name, u.Password); err != nil {
		t.Error(err)
	}
	if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: u.Name}})...); err != nil || users(t, "v-'own") != 0 {
		t.Error(err)
	}
}

// TestRefused leaves nothing of statements that fail, and tells no password, nor
// what it begins with.
func TestRefused(t *testing.T) {
	t.Parallel()
	db := opened(t)
	for _, statement := range []string{
		`GRANT SELECT ON nothing.nothing TO '{{name}}'@'%'`, `SELECT {{password}} FROM`, `SELECT '`,
		`SELECT nothing '{{password}}' FROM`, `SELEC 'sixty-characters-before-it-sixty-characters-before-it-sixty-char{{password}}'`,
	} {
		u := user("v-refused")
		u.Password = "Quite-secret-1"
		u.Statements = append(u.Statements, statement)
		err := db.Create(t.Context(), u)
		var refused *database.Refusal
		if !errors.As(err, &refused) || strings.Contains(err.Error(), "Quite") {
			t.Errorf("%s: %v", statement, err)
		}
		if users(t, "v-refused") != 0 {
			t.Errorf("%s: the user is there", statement)
		}
	}
}

// TestHangs has statements that take longer than anybody waits for: they end with
// the call, and what they would have done later is not done.
func TestHangs(t *testing.T) {
	t.Parallel()
	db := opened(t)
	u := user("v-hangs")
	u.Statements = []string{"SELECT SLEEP(300)", creation}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := db.Create(ctx, u)
	var refused *database.Refusal
	var untold *database.Unreached
	if err == nil || errors.As(err, &refused) || errors.As(err, &untold) {
		t.Errorf("it says %v", err)
	}
	if n := count(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(300)%' AND ID <> CONNECTION_ID()"); n != 0 {
		t.Error("the statement goes on")
	}
	if users(t, "v-hangs") != 0 {
		t.Error("the user is there")
	}
}

// TestLate is about who was to make a user and comes too late: revoking the user
// ends its session.
func TestLate(t *testing.T) {
	t.Parallel()
	db := opened(t)
	late := admin(t)
	var got int
	if err := late.QueryRowContext(t.Context(), "SELECT GET_LOCK("+mysql.Lock("v-late")+", 0)").Scan(&got); err != nil || got != 1 {
		t.Fatalf("%d, %v", got, err)
	}
	var untold *database.Unreached
	if err := db.Create(t.Context(), user("v-late")); err == nil || errors.As(err, &untold) {
		t.Errorf("two make one user: %v", err)
	}
	conn, err := late.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: "v-late"}})...); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "CREATE USER 'v-late'@'%'"); err == nil || users(t, "v-late") != 0 {
		t.Error("who comes late makes the user")
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	exec(t, admin(t), "CREATE USER turning@'%' IDENTIFIED BY 'old'", "GRANT ALL ON *.* TO turning@'%'")
	db := open(t, "turning", "new'\\", "old")
	if n, err := db.Verify(t.Context()); n != 1 || err != nil {
		t.Fatalf("password %d, %v", n, err)
	}
	if err := db.Rotate(t.Context(), &database.User{Name: "turning", Password: "new'\\"}); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Verify(t.Context()); n != 0 || err != nil {
		t.Fatalf("password %d, %v", n, err)
	}
	if _, err := login(t, "turning", "old"); err == nil {
		t.Error("the old password is good")
	}
	var refused *database.Refusal
	if err := db.Rotate(t.Context(), &database.User{Name: "nobody", Password: "x"}); !errors.As(err, &refused) {
		t.Errorf("a user that is not there: %v", err)
	}
	_, err := open(t, "turning", "wrong-one").Verify(t.Context())
	if err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	db := opened(t)
	errs := make(chan error)
	const n = 24
	for i := range n {
		go func() { errs <- db.Create(t.Context(), user(fmt.Sprintf("v-crowd-%d", i))) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"{{username}}:{{password}}@tcp(127.0.0.1:1)/": true,
		"u:p@tcp(127.0.0.1:1)/x?sql_mode=''":          true,
		"":                                            false,
		"{{username}}:{{password}}@tcp(127.0.0.1:1":                      false,
		"{{username}}:{{password}}@tcp({{password}}:1)/":                 false,
		"{{username}}:{{password}}@tcp(127.0.0.1:1)/?allowAllFiles=true": false,
		"{{username}}:{{password}}@carrier(127.0.0.1:1)/":                false,
	} {
		db, err := mysql.Plugins()[0].Open(&database.Settings{URL: url, Username: "u", Passwords: []string{"secret-p"}, MaxOpen: 1})
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "secret-p") {
			t.Errorf("%s: %v", url, err)
		}
		if err != nil {
			continue
		}
		var untold *database.Unreached
		if _, err := db.Verify(t.Context()); !errors.As(err, &untold) || strings.Contains(err.Error(), "secret-p") {
			t.Errorf("%s: verified: %v", url, err)
		}
		_ = db.Close()
	}
	for name, options := range map[string]map[string]string{"no authority": {"tls_ca": "x"}, "no pair": {"tls_certificate_key": "x"}} {
		if _, err := mysql.Plugins()[0].Open(&database.Settings{URL: server.Template(""), Options: options, Passwords: []string{"p"}}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	db, err := mysql.Plugins()[0].Open(&database.Settings{URL: server.Template(""), Username: mariadbserver.Admin, Passwords: []string{mariadbserver.Password}, Options: map[string]string{"tls_skip_verify": "true"}, MaxOpen: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Verify(t.Context()); err == nil {
		t.Error("goes on without the TLS that it was told to use")
	}
}

// TestOvertakes ends who may yet set another password, and then sets its own.
func TestOvertakes(t *testing.T) {
	t.Parallel()
	exec(t, admin(t), "CREATE USER overtakes@'%'")
	late, err := admin(t).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.ExecContext(t.Context(), "SELECT GET_LOCK("+mysql.Lock("overtakes")+", 0)"); err != nil {
		t.Fatal(err)
	}
	next := &database.User{Name: "overtakes", Password: "next"}
	if err := opened(t).Rotate(t.Context(), next); err == nil {
		t.Error("two set one password at once")
	}
	next.Overtake = true
	if err := opened(t).Rotate(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if _, err := late.ExecContext(t.Context(), "ALTER USER overtakes@'%' IDENTIFIED BY 'late'"); err == nil {
		t.Error("who comes late sets a password")
	}
	if _, err := login(t, "overtakes", "next"); err != nil {
		t.Errorf("the password is not the last one: %v", err)
	}
}
