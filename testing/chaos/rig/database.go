package rig

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/coffer-secrets/coffer/testing/chaos/proxy"
	"github.com/coffer-secrets/coffer/testing/daemon"
	"github.com/coffer-secrets/coffer/testing/harness/netns"
	"github.com/coffer-secrets/coffer/testing/pgserver"
)

const (
	// databaseRoom is how many connections the database takes: few, so that a
	// fault can have them all.
	databaseRoom = 60
	// enterWithin bounds a login.
	enterWithin = 3 * time.Second
)

// Database is a PostgreSQL that all nodes reach.
type Database struct {
	// Host is where nodes reach it.
	Host *netns.Host
	// address is where they do that on loopback.
	address string

	server *pgserver.Server
	mu     sync.Mutex
	frozen bool
	// taken are the connections that a fault keeps from others.
	taken []*pgx.Conn
}

func startDatabase(host *netns.Host, by *proxy.Network) (*Database, error) {
	place := pgserver.Place{Connections: databaseRoom}
	if by == nil {
		address := host.Addr.String()
		place.Address, place.Network, place.Command = address, address+"/24", host.Command
	}
	server, err := pgserver.StartAt(place)
	if err != nil {
		return nil, err
	}
	d := &Database{Host: host, server: server}
	if by == nil {
		return d, nil
	}
	if d.address, err = daemon.FreeAddress(); err == nil {
		err = by.Add(host, d.address, server.Address())
	}
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return d, nil
}

// Connection is what Coffer is told of it.
func (d *Database) Connection() map[string]any {
	at := d.server.Template("postgres")
	if d.address != "" {
		at = strings.Replace(at, d.server.Address(), d.address, 1)
	}
	return map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": pgserver.Admin, "password": pgserver.Password,
		"connection_url": at,
	}
}

// Creation is how a user is made.
func (d *Database) Creation() string {
	return `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`
}

// Users are those that the database has for leases.
func (d *Database) Users(ctx context.Context) ([]string, error) {
	conn, err := d.admin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY rolname COLLATE "C"`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (d *Database) admin(ctx context.Context) (*pgx.Conn, error) {
	return pgx.Connect(ctx, d.server.URL(pgserver.Admin, pgserver.Password, "postgres"))
}

// Enter logs in as a user, and reports whether the database let them in. The
// error says that the database did not decide.
func (d *Database) Enter(ctx context.Context, user, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, enterWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.server.URL(user, password, "postgres"))
	if err == nil {
		return true, conn.Close(ctx)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && strings.HasPrefix(refused.Code, "28") { // invalid authorization
		return false, nil
	}
	return false, err
}

// Stop ends the database as a crash would, and Start starts it again.
func (d *Database) Stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = false
	return d.server.Stop()
}

// Start starts a database that was stopped.
func (d *Database) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server.Resume()
}

// Pause stops the database from running.
func (d *Database) Pause() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = true
	d.server.Freeze()
}

// Resume ends a Pause.
func (d *Database) Resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen {
		d.server.Thaw()
	}
	d.frozen = false
}

// Crowd takes the connections that the database has left, until Disperse.
func (d *Database) Crowd(ctx context.Context) {
	for range databaseRoom {
		conn, err := d.admin(ctx)
		if err != nil {
			return // there is no room
		}
		d.mu.Lock()
		d.taken = append(d.taken, conn)
		d.mu.Unlock()
	}
}

// Disperse ends a Crowd.
func (d *Database) Disperse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.taken {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = conn.Close(ctx)
		cancel()
	}
	d.taken = nil
}

// heal ends what a fault has left.
func (d *Database) heal() error {
	d.Resume()
	d.Disperse()
	ctx, cancel := context.WithTimeout(context.Background(), enterWithin)
	defer cancel()
	if _, err := d.Users(ctx); err != nil {
		return fmt.Errorf("rig: the database is not there: %w", err)
	}
	return nil
}
