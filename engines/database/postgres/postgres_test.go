package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/coffer-secrets/coffer/engines/database"
	"github.com/coffer-secrets/coffer/engines/database/postgres"
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

// login connects as a user.
func login(t *testing.T, user, password, db string) (*pgx.Conn, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL(user, password, db))
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn, err
}

func admin(t *testing.T, db string) *pgx.Conn {
	t.Helper()
	conn, err := login(t, pgserver.Admin, pgserver.Password, db)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := conn.Exec(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// database opens one of a test's own, with a table in it.
func newDatabase(t *testing.T, name string) database.Database {
	t.Helper()
	exec(t, admin(t, "postgres"), "CREATE DATABASE "+name)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), server.URL(pgserver.Admin, pgserver.Password, "postgres"))
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close(context.Background()) }()
		for _, text := range []string{
			"DROP DATABASE " + name + " WITH (FORCE)",
			"DO $$ DECLARE r record; BEGIN FOR r IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%" + name + "%' LOOP EXECUTE format('DROP ROLE %I', r.rolname); END LOOP; END $$",
			"DROP ROLE IF EXISTS " + name,
		} {
			if _, err := conn.Exec(context.Background(), text); err != nil {
				t.Error(err)
			}
		}
	})
	exec(t, admin(t, name), "CREATE TABLE orders (n int)", "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC")
	return open(t, name, pgserver.Admin, pgserver.Password)
}

func open(t *testing.T, name, user string, passwords ...string) database.Database {
	t.Helper()
	db, err := postgres.Plugin().Open(&database.Settings{URL: server.Template(name), Username: user, Passwords: passwords, MaxOpen: 4, MaxIdle: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

const creation = `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';
	GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO "{{name}}";`

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
	db := newDatabase(t, "life")
	gone := create(t, db, "v-life")
	conn, err := login(t, "v-life", "pass-v-life", "life")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "INSERT INTO orders VALUES (1)")
	var kept string
	row := admin(t, "life").QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = 'v-life'")
	if err := row.Scan(&kept); err != nil || !strings.HasPrefix(kept, "SCRAM-SHA-256$4096:") {
		t.Errorf("the server keeps %q, %v", kept, err)
	}
	u := user("v-life")
	u.Statements, u.Password, u.Expires = nil, "", time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := db.Extend(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	var until time.Time
	row = admin(t, "life").QueryRow(t.Context(), "SELECT rolvaliduntil FROM pg_roles WHERE rolname = 'v-life'")
	if err := row.Scan(&until); err != nil || !until.Equal(u.Expires) {
		t.Errorf("valid until %v, %v", until, err)
	}
	for range 2 {
		for _, err := range db.Revoke(t.Context(), gone) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a session outlives its user")
	}
	if _, err := login(t, "v-life", "pass-v-life", "life"); err == nil {
		t.Error("a revoked user logs in")
	}
}

// TestRevokeMany revokes users who own things, some of them in another
// database, and one that cannot go.
func TestRevokeMany(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "many")
	newDatabase(t, "many_elsewhere")
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprintf("v-many-%d", i)
	}
	gone := create(t, db, names...)
	for _, place := range []string{"many", "many_elsewhere"} {
		conn, err := login(t, names[0], "pass-"+names[0], place)
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
	}
	newDatabase(t, "shut")
	conn, err := login(t, names[7], "pass-"+names[7], "shut")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "CREATE TABLE kept (n int)")
	exec(t, admin(t, "postgres"), "ALTER DATABASE shut ALLOW_CONNECTIONS false")
	gone = append(gone, database.User{Name: "never-made"}, database.User{Name: pgserver.Admin})
	for i, err := range db.Revoke(t.Context(), gone) {
		var refused *database.Refusal
		if stays := i == 7 || i == len(gone)-1; stays != errors.As(err, &refused) || !stays && err != nil {
			t.Errorf("%s: %v", gone[i].Name, err)
		}
		if i == 7 && !strings.Contains(err.Error(), `in database "shut"`) {
			t.Errorf("does not say what it could not: %v", err)
		}
	}
	if _, err := login(t, names[7], "pass-"+names[7], "many"); err == nil {
		t.Error("who cannot be removed still logs in")
	}
	for _, place := range []string{"many", "many_elsewhere"} {
		var n int
		if err := admin(t, place).QueryRow(t.Context(), "SELECT n FROM kept").Scan(&n); err != nil || n != 7 {
			t.Errorf("%s: what a user owned is lost: %v", place, err)
		}
	}
	var left int
	row := admin(t, "many").QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-many-%'")
	if err := row.Scan(&left); err != nil || left != 1 {
		t.Errorf("%d users are left, %v", left, err)
	}
}

// TestWithoutSuperuser revokes with no more than CREATEROLE.
func TestWithoutSuperuser(t *testing.T) {
	t.Parallel()
	newDatabase(t, "modest")
	exec(t, admin(t, "modest"), `CREATE ROLE modest LOGIN CREATEROLE PASSWORD 'modest'`, "GRANT SELECT, INSERT, UPDATE ON orders TO modest WITH GRANT OPTION")
	db := open(t, "modest", "modest", "modest")
	gone := create(t, db, "v-modest-1", "v-modest-2")
	conn, err := login(t, "v-modest-1", "pass-v-modest-1", "modest")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "CREATE TABLE kept (n int)")
	for _, err := range db.Revoke(t.Context(), gone) {
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a session outlives its user")
	}
}

func TestStatementsOfRole(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "own")
	gone := create(t, db, "v-own")
	gone[0].Statements = []string{`REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{{name}}"`, `DROP ROLE "{{name}}"`}
	for range 2 {
		if err := errors.Join(db.Revoke(t.Context(), gone)...); err != nil {
			t.Fatal(err)
		}
	}
	u := user("v-'own\"")
	u.Password = `it's "\`
	u.Statements = []string{`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`, `CREATE TABLE said AS SELECT '{{password}}' AS text, E'\'{{password}}' AS other, '{{1,2}}'::int[] AS list -- {{name}}`}
	if err := db.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	var text, other string
	if err := admin(t, "own").QueryRow(t.Context(), "SELECT text, other FROM said").Scan(&text, &other); err != nil || text != u.Password || other != "'"+u.Password {
		t.Errorf("got %q, %q, %v", text, other, err)
	}
	if _, err := login(t, u.Name, u.Password, "own"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: u.Name}})...); err != nil {
		t.Error(err)
	}
}

// TestRefused leaves nothing of statements that fail, and tells no password.
func TestRefused(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "refused")
	for _, statement := range []string{`GRANT SELECT ON nothing TO "{{name}}"`, `SELECT '{{password}}'::int`, `SELECT {{password}}`, `SELECT '`} {
		u := user("v-refused")
		u.Statements = append(u.Statements, statement)
		err := db.Create(t.Context(), u)
		var refused *database.Refusal
		if !errors.As(err, &refused) || strings.Contains(err.Error(), u.Password) {
			t.Errorf("%s: %v", statement, err)
		}
		if _, err := login(t, u.Name, u.Password, "refused"); err == nil {
			t.Errorf("%s: the user is there", statement)
		}
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	exec(t, admin(t, "postgres"), `DROP ROLE IF EXISTS turning; CREATE ROLE turning LOGIN CREATEROLE PASSWORD 'old'`)
	db := open(t, "postgres", "turning", "new", "old")
	if n, err := db.Verify(t.Context()); n != 1 || err != nil {
		t.Fatalf("password %d, %v", n, err)
	}
	if err := db.Rotate(t.Context(), &database.User{Name: "turning", Password: "new"}); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Verify(t.Context()); n != 0 || err != nil {
		t.Fatalf("password %d, %v", n, err)
	}
	if _, err := login(t, "turning", "old", "postgres"); err == nil {
		t.Error("the old password is good")
	}
	_, err := open(t, "postgres", "turning", "wrong-one").Verify(t.Context())
	var refused *database.Refusal
	if err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestManyAtOnce has many made together, one of which cannot be.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "crowd")
	const n, taken = 48, 7
	exec(t, admin(t, "crowd"), fmt.Sprintf(`CREATE ROLE "v-crowd-%d"`, taken))
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = db.Create(t.Context(), user(fmt.Sprintf("v-crowd-%d", i))) })
	}
	all.Wait()
	for i, err := range errs {
		var refused *database.Refusal
		if (i == taken) != errors.As(err, &refused) || i != taken && err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if name := fmt.Sprintf("v-crowd-%d", i); i != taken {
			if _, err := login(t, name, "pass-"+name, "crowd"); err != nil {
				t.Error(err)
			}
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if err := db.Create(ctx, user("v-crowd-late")); err == nil {
		t.Error("makes a user when nobody waits any more")
	}
}

// TestTogether knows which statements leave others alone.
func TestTogether(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		creation: true, `create user "{{name}}"; /* ; */ -- ; COMMIT` + "\n" + `ALTER USER "{{name}}" SET search_path = 'a;b'`: true,
		`CREATE ROLE "{{name}}"; COMMIT`: false, `SET ROLE x; CREATE ROLE "{{name}}"`: false, `CREATE TABLE x ()`: false, `SELECT '`: false,
	} {
		if got := postgres.Together(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestLate is about who was to make a user and comes too late: revoking the user
// ends its session, and no others.
func TestLate(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "late")
	session := func(name string) *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), server.URL(pgserver.Admin, pgserver.Password, "late")+"&application_name="+name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	late, other := session(postgres.Family(server.Template("late"), pgserver.Admin)+"x"), session("coffer-of-others")
	if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: "v-late"}})...); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Exec(t.Context(), `CREATE ROLE "v-late"`); err == nil {
		t.Error("who comes late makes the user")
	}
	exec(t, other, "SELECT 1")
}

// TestHangs has a statement that takes longer than anybody waits for.
func TestHangs(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "hangs")
	u := user("v-hangs")
	u.Statements = []string{`SELECT pg_sleep(300)`, creation}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var refused *database.Refusal
	if err := db.Create(ctx, u); err == nil || errors.As(err, &refused) {
		t.Errorf("it says %v", err)
	}
	if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: "v-hangs"}})...); err != nil {
		t.Fatal(err)
	}
	var n int
	row := admin(t, "hangs").QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%v-hangs%' AND pid <> pg_backend_pid()")
	if err := row.Scan(&n); err != nil || n != 0 {
		t.Errorf("the statement goes on: %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"postgresql://{{username}}:{{password}}@127.0.0.1:1/x":            true,
		"host=127.0.0.1 user={{username}} password={{password}} dbname=x": true,
		"postgresql://u:p@127.0.0.1:1/x":                                  true,
		"":                                                                false,
		"postgresql://{{username}}:{{password}}@127.0.0.1:port/x":                    false,
		"postgresql://{{password}}.example/x":                                        false,
		"postgresql://{{username}}:{{password}}@127.0.0.1/x?passfile=/etc/passwd":    false,
		"postgresql://{{username}}:{{password}}@127.0.0.1/x?%70assfile=/etc/passwd":  false,
		"host=127.0.0.1 user={{username}} sslkey = /etc/passwd":                      false,
		"postgresql://{{username}}:{{password}}@127.0.0.1/x?sslrootcert=/etc/passwd": false,
	} {
		db, err := postgres.Plugin().Open(&database.Settings{URL: url, Username: "u", Passwords: []string{"secret-p"}, MaxOpen: 1})
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "secret-p") {
			t.Errorf("%s: %v", url, err)
		}
		if err != nil {
			continue
		}
		if _, err := db.Verify(t.Context()); err == nil || strings.Contains(err.Error(), "secret-p") {
			t.Errorf("%s: verified: %v", url, err)
		}
		_ = db.Close()
	}
}

// TestOvertakes ends who may yet set another password, and then sets its own.
func TestOvertakes(t *testing.T) {
	t.Parallel()
	newDatabase(t, "overtakes")
	exec(t, admin(t, "postgres"), `CREATE ROLE "v-admin-overtakes" SUPERUSER LOGIN PASSWORD 'p'`, `CREATE ROLE "v-overtakes" LOGIN`)
	late, next := open(t, "overtakes", "v-admin-overtakes", "p"), open(t, "overtakes", "v-admin-overtakes", "p")
	held := admin(t, "overtakes") // a lock is of a database
	exec(t, held, "SELECT pg_advisory_lock(4711)")
	ended := make(chan error, 1)
	go func() {
		ended <- late.Rotate(t.Context(), &database.User{Name: "v-overtakes", Password: "late", Statements: []string{"SELECT pg_advisory_lock(4711)", `ALTER ROLE "{{name}}" PASSWORD '{{password}}'`}})
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n == 0; { // until it waits for the lock
		select {
		case err := <-ended:
			t.Fatalf("it does not wait: %v", err)
		case <-tick.C:
		}
		row := held.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
		if err := row.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := next.Rotate(t.Context(), &database.User{Name: "v-overtakes", Password: "next", Overtake: true}); err != nil {
		t.Fatal(err)
	}
	exec(t, held, "SELECT pg_advisory_unlock(4711)")
	if err := <-ended; err == nil {
		t.Error("who comes late sets a password")
	}
	if _, err := login(t, "v-overtakes", "next", "overtakes"); err != nil {
		t.Errorf("the password is not the last one: %v", err)
	}
}
