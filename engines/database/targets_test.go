package database_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/coffer-secrets/coffer/testing/mariadbserver"
	"github.com/coffer-secrets/coffer/testing/pgserver"
	"github.com/coffer-secrets/coffer/testing/redisserver"
	"github.com/coffer-secrets/coffer/testing/wire"
)

// target is a kind of database that users are made of, and one of its kind.
type target struct {
	server interface {
		Stop() error
		Resume() error
		Close() error
	}
	// address is where the server listens, now.
	address func() string
	// connection is what Coffer is told of it, at another address.
	connection func(port int) body
	creation   string
	// users lists those that the database has.
	users func(t *testing.T) []string
	wire  *wire.Wire
}

// targets starts a database of each kind, as it is asked for.
var targets = map[string]func() (*target, error){ //nolint:gochecknoglobals // a table
	"PostgreSQL": postgresTarget, "MariaDB": mariadbTarget, "Redis": redisTarget,
}

func startTarget(t *testing.T, start func() (*target, error)) *target {
	t.Helper()
	at, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.server.Close() })
	if at.wire, err = wire.New(at.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.wire.Close() })
	return at
}

// made lists the users that the database has for leases.
func (at *target) made(t *testing.T) []string {
	t.Helper()
	names := slices.DeleteFunc(at.users(t), func(name string) bool {
		return !strings.HasPrefix(strings.ToLower(name), "v-") && !strings.HasPrefix(name, "V_")
	})
	slices.Sort(names)
	return names
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func postgresTarget() (*target, error) {
	s, err := pgserver.Start()
	if err != nil {
		return nil, err
	}
	return &target{
		server: s, creation: creation,
		address: func() string { return local(s.Port()) },
		connection: func(port int) body {
			return connection(body{"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@127.0.0.1:%d/postgres?sslmode=disable", port)})
		},
		users: func(t *testing.T) []string {
			t.Helper()
			conn, err := pgx.Connect(t.Context(), s.URL(pgserver.Admin, pgserver.Password, "postgres"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.Background()) }()
			rows, err := conn.Query(t.Context(), "SELECT rolname FROM pg_roles")
			if err != nil {
				t.Fatal(err)
			}
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			return names
		},
	}, nil
}

func mariadbTarget() (*target, error) {
	s, err := mariadbserver.Start()
	if err != nil {
		return nil, err
	}
	return &target{
		server: s, creation: creationMySQL, address: s.Address,
		connection: func(port int) body {
			out := connectionMySQL(s)
			out["connection_url"] = fmt.Sprintf("{{username}}:{{password}}@tcp(127.0.0.1:%d)/", port)
			return out
		},
		users: func(t *testing.T) []string {
			t.Helper()
			db, err := s.Open(mariadbserver.Admin, mariadbserver.Password)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			rows, err := db.QueryContext(t.Context(), "SELECT User FROM mysql.user")
			if err != nil {
				t.Fatal(err)
			}
			defer func(rows *sql.Rows) { _ = rows.Close() }(rows)
			var names []string
			for rows.Next() {
				var name string
				if err := rows.Scan(&name); err != nil {
					t.Fatal(err)
				}
				names = append(names, name)
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			return names
		},
	}, nil
}

func redisTarget() (*target, error) {
	s, err := redisserver.Start()
	if err != nil {
		return nil, err
	}
	return &target{
		server: s, creation: `["~*", "+@read"]`,
		address: func() string { return local(s.Port()) },
		connection: func(port int) body {
			return body{
				"plugin_name": "redis-database-plugin", "allowed_roles": "app*", "host": "127.0.0.1", "port": port,
				"username": redisserver.Admin, "password": redisserver.Password,
			}
		},
		users: func(t *testing.T) []string {
			t.Helper()
			c := redis.NewClient(&redis.Options{Addr: local(s.Port()), Username: redisserver.Admin, Password: redisserver.Password})
			defer func() { _ = c.Close() }()
			names, err := c.Do(t.Context(), "ACL", "USERS").StringSlice()
			if err != nil {
				t.Fatal(err)
			}
			return names
		},
	}, nil
}
