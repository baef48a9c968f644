package targets

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/coffer-secrets/coffer/testing/mariadbserver"
	"github.com/coffer-secrets/coffer/testing/pgserver"
	"github.com/coffer-secrets/coffer/testing/redisserver"
	"github.com/coffer-secrets/coffer/testing/wire"
)

// Target is a database.
type Target struct {
	Server interface {
		Stop() error
		Resume() error
		Close() error
	}
	// Wire is between Coffer and the database.
	Wire *wire.Wire
	// Creation is how a user is made of it.
	Creation string

	// address is where the server listens, now.
	address func() string
	// connection is what Coffer is told of it, at another address.
	connection func(port int) map[string]any
	// users lists those that the database has.
	users func(ctx context.Context) ([]string, error)
	// enter logs in and runs commands, each of which is words or one statement.
	enter func(ctx context.Context, user, password string, commands ...string) error
	// owner are the commands that make a user who is not of Coffer's making.
	owner func(name string) string
}

// Kinds start a database of each kind.
func Kinds() map[string]func() (*Target, error) {
	return map[string]func() (*Target, error){"PostgreSQL": postgreSQL, "MariaDB": mariaDB, "Redis": redisServer}
}

// Start starts a database for a test.
func Start(t testing.TB, start func() (*Target, error)) *Target {
	t.Helper()
	at, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.Server.Close() })
	if at.Wire, err = wire.New(at.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.Wire.Close() })
	return at
}

// Connection is what Coffer is told of the database. Roles whose names begin
// with app may use it.
func (at *Target) Connection() map[string]any {
	out := at.connection(at.Wire.Port())
	out["allowed_roles"] = "app*"
	return out
}

// Made lists the users that the database has for leases.
func (at *Target) Made(t testing.TB) []string {
	t.Helper()
	names, err := at.users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "v-") && !strings.HasPrefix(name, "V_") })
	slices.Sort(names)
	return names
}

// Owner makes a user for a static role.
func (at *Target) Owner(t testing.TB, name string) {
	t.Helper()
	if err := at.enter(t.Context(), "", "", at.owner(name)); err != nil {
		t.Fatal(err)
	}
}

// LogsIn reports whether a user can log in.
func (at *Target) LogsIn(t testing.TB, user, password string) bool {
	t.Helper()
	return at.enter(t.Context(), user, password) == nil
}

func postgreSQL() (*Target, error) {
	s, err := pgserver.Start()
	if err != nil {
		return nil, err
	}
	return &Target{
		Server:   s,
		Creation: `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO "{{name}}";`,
		address:  s.Address,
		connection: func(port int) map[string]any {
			return map[string]any{
				"plugin_name": "postgresql-database-plugin", "username": pgserver.Admin, "password": pgserver.Password,
				"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@127.0.0.1:%d/postgres?sslmode=disable", port),
			}
		},
		owner: func(name string) string { return `CREATE ROLE "` + name + `" LOGIN PASSWORD 'first'` },
		enter: func(ctx context.Context, user, password string, commands ...string) error {
			if user == "" {
				user, password = pgserver.Admin, pgserver.Password
			}
			conn, err := pgx.Connect(ctx, s.URL(user, password, "postgres"))
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			for _, text := range commands {
				if _, err := conn.Exec(ctx, text); err != nil {
					return err
				}
			}
			return nil
		},
		users: func(ctx context.Context) ([]string, error) {
			conn, err := pgx.Connect(ctx, s.URL(pgserver.Admin, pgserver.Password, "postgres"))
			if err != nil {
				return nil, err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			rows, err := conn.Query(ctx, "SELECT rolname FROM pg_roles")
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, pgx.RowTo[string])
		},
	}, nil
}

func mariaDB() (*Target, error) {
	s, err := mariadbserver.Start()
	if err != nil {
		return nil, err
	}
	return &Target{
		Server: s, address: s.Address,
		Creation: `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON *.* TO '{{name}}'@'%';`,
		connection: func(port int) map[string]any {
			return map[string]any{
				"plugin_name": "mariadb-database-plugin", "username": mariadbserver.Admin, "password": mariadbserver.Password,
				"connection_url": fmt.Sprintf("{{username}}:{{password}}@tcp(127.0.0.1:%d)/", port),
			}
		},
		owner: func(name string) string { return "CREATE USER '" + name + "'@'%' IDENTIFIED BY 'first'" },
		enter: func(ctx context.Context, user, password string, commands ...string) error {
			if user == "" {
				user, password = mariadbserver.Admin, mariadbserver.Password
			}
			db, err := s.Open(user, password)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			for _, text := range append(commands, "DO 1") {
				if _, err := db.ExecContext(ctx, text); err != nil {
					return err
				}
			}
			return nil
		},
		users: func(ctx context.Context) ([]string, error) {
			db, err := s.Open(mariadbserver.Admin, mariadbserver.Password)
			if err != nil {
				return nil, err
			}
			defer func() { _ = db.Close() }()
			rows, err := db.QueryContext(ctx, "SELECT User FROM mysql.user")
			if err != nil {
				return nil, err
			}
			defer func() { _ = rows.Close() }()
			var names []string
			for rows.Next() {
				var name string
				if err := rows.Scan(&name); err != nil {
					return nil, err
				}
				names = append(names, name)
			}
			return names, rows.Err()
		},
	}, nil
}

func redisServer() (*Target, error) {
	s, err := redisserver.Start()
	if err != nil {
		return nil, err
	}
	return &Target{
		Server: s, Creation: `["~*", "+@read"]`,
		address: s.Address,
		connection: func(port int) map[string]any {
			return map[string]any{
				"plugin_name": "redis-database-plugin", "username": redisserver.Admin, "password": redisserver.Password, "host": "127.0.0.1", "port": port,
			}
		},
		owner: func(name string) string { return "ACL SETUSER " + name + " on >first ~* +@all" },
		enter: func(ctx context.Context, user, password string, commands ...string) error {
			if user == "" {
				user, password = redisserver.Admin, redisserver.Password
			}
			c := redis.NewClient(&redis.Options{Addr: s.Address(), Username: user, Password: password, MaxRetries: -1})
			defer func() { _ = c.Close() }()
			for _, text := range append(commands, "PING") {
				var words []any
				for _, word := range strings.Fields(text) {
					words = append(words, word)
				}
				if err := c.Do(ctx, words...).Err(); err != nil && !redis.HasErrorPrefix(err, "NOPERM") { // or it is in
					return err
				}
			}
			return nil
		},
		users: func(ctx context.Context) ([]string, error) {
			c := redis.NewClient(&redis.Options{Addr: s.Address(), Username: redisserver.Admin, Password: redisserver.Password})
			defer func() { _ = c.Close() }()
			return c.Do(ctx, "ACL", "USERS").StringSlice()
		},
	}, nil
}
