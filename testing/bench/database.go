package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/coffer-secrets/coffer/testing/bench/load"
	"github.com/coffer-secrets/coffer/testing/pgserver"
)

const (
	// revoked is how many leases one revocation of a prefix ends.
	revoked = 2000
	// benchUser is how a user of a database is made, here and there.
	benchUser = `CREATE ROLE "%s" WITH LOGIN PASSWORD '%s' VALID UNTIL '%s'`
	benchEnd  = "2099-01-01 00:00:00+00"
)

// measureDatabase has users made by PostgreSQL, on connections of its own, and
// credentials by a server in front of it, in turn, and then ends many of those.
func measureDatabase(ctx context.Context, o options) error {
	pg, err := pgserver.Start() //nolint:contextcheck // it has time limits of its own
	if err != nil {
		return err
	}
	defer func() { _ = pg.Close() }()
	server, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer server.stop()
	clients := o.most()
	a := &admin{ctx: ctx, target: server}
	a.post("sys/mounts/database", `{"type":"database"}`)
	// By itself Coffer opens few connections; the floor has one for each client.
	for name, open := range map[string]int{"bench": 0, "wide": clients} {
		if err := connect(a, pg, name, open); err != nil {
			return err
		}
	}
	var floors, rates, wides, ends []float64
	for range o.rounds {
		floor, err := rateOf(ctx, clients, o.round, func(n int) (func(i int) error, func(), error) { return ownRoles(ctx, pg, n) })
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		ask := func(role string) (float64, error) {
			return rateOf(ctx, clients, o.round, func(int) (func(i int) error, func(), error) { return asking(ctx, server, role) })
		}
		rate, err := ask("bench")
		if err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		profiled := make(chan error, 1)
		go func() { profiled <- profileRound(ctx, server, o) }()
		wide, err := ask("wide")
		if err = errors.Join(err, <-profiled); err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		end, err := endAll(ctx, a, clients)
		if err != nil {
			return fmt.Errorf("revocation: %w", err)
		}
		fmt.Printf("CREATE ROLE %.0f/s; credentials %.0f/s: %.2f, with %d connections %.0f/s: %.2f; revoked %.0f/s\n", floor, rate, rate/floor, clients, wide, wide/floor, end)
		floors, rates, wides, ends = append(floors, floor), append(rates, rate), append(wides, wide), append(ends, end)
	}
	fmt.Printf("medians with %d clients: credentials at %.2f of PostgreSQL's own rate of CREATE ROLE, with as many connections as clients at %.2f; a prefix of %d leases revoked at %.0f/s\n",
		clients, median(rates)/median(floors), median(wides)/median(floors), revoked, median(ends))
	return nil
}

// connect configures a connection with a role of the same name; open is how many
// connections it may have, 0 for what is usual.
func connect(a *admin, pg *pgserver.Server, name string, open int) error {
	settings := map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": pg.Template("postgres"),
		"username": pgserver.Admin, "password": pgserver.Password,
	}
	if open > 0 {
		settings["max_open_connections"] = open
	}
	config, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	role, err := json.Marshal(map[string]any{"db_name": name, "creation_statements": fmt.Sprintf(benchUser, "{{name}}", "{{password}}", "{{expiration}}"), "default_ttl": "1h"})
	if err != nil {
		return err
	}
	a.post("database/config/"+name, string(config))
	a.post("database/roles/"+name, string(role))
	return a.err
}

// profileRound writes a CPU profile of a server under the load of a round, if it is
// asked for.
func profileRound(ctx context.Context, server *target, o options) error {
	if o.profile == "" {
		return nil
	}
	return fetchProfile(ctx, server.addr, max(1, int(o.round/time.Second)), o.profile)
}

// rateOf is how often many at once do something in some time.
func rateOf(ctx context.Context, clients int, long time.Duration, begin func(n int) (do func(i int) error, end func(), err error)) (float64, error) {
	var wg sync.WaitGroup
	var done atomic.Int64
	var failed atomic.Pointer[error]
	start := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for n := range clients {
		do, end, err := begin(n)
		if err != nil {
			cancel()
			close(start)
			wg.Wait()
			return 0, err
		}
		wg.Go(func() {
			defer end()
			<-start
			for i := 0; ctx.Err() == nil; i++ {
				if err := do(i); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				done.Add(1)
			}
		})
	}
	began := time.Now()
	close(start)
	select {
	case <-time.After(long):
	case <-ctx.Done():
	}
	rate := float64(done.Load()) / time.Since(began).Seconds()
	cancel()
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return rate, nil
}

// ownRoles has a connection make users.
func ownRoles(ctx context.Context, pg *pgserver.Server, n int) (do func(i int) error, end func(), err error) {
	conn, err := pgx.Connect(ctx, pg.URL(pgserver.Admin, pgserver.Password, "postgres"))
	if err != nil {
		return nil, nil, err
	}
	round := time.Now().UnixNano()
	return func(i int) error {
		_, err := conn.Exec(ctx, fmt.Sprintf(benchUser, fmt.Sprintf("own-%d-%d-%d", n, round, i), "A1a-0123456789abcdef", benchEnd))
		return err
	}, func() { _ = conn.Close(context.WithoutCancel(ctx)) }, nil
}

// asking has a connection ask for users.
func asking(ctx context.Context, server *target, role string) (do func(i int) error, end func(), err error) {
	c, err := load.Dial(ctx, server.addr, server.tls)
	if err != nil {
		return nil, nil, err
	}
	ask := load.Message(http.MethodGet, "/v1/database/creds/"+role, server.token, "")
	return func(int) error { return c.Do(ask, http.StatusOK) }, c.Close, nil
}

// endAll sees that there are as many leases as are to be revoked, and revokes
// them by their prefix.
func endAll(ctx context.Context, a *admin, clients int) (float64, error) {
	a.post("sys/leases/revoke-prefix/database/creds", `{"sync":true}`)
	var left atomic.Int64
	left.Store(revoked)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for range clients {
		do, end, err := asking(ctx, a.target, "bench")
		if err != nil {
			return 0, err
		}
		wg.Go(func() {
			defer end()
			for left.Add(-1) >= 0 {
				if err := do(0); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	began := time.Now()
	a.post("sys/leases/revoke-prefix/database/creds/bench", `{"sync":true}`)
	rate := revoked / time.Since(began).Seconds()
	if a.err == nil && rate <= 0 {
		a.err = errors.New("nothing was revoked")
	}
	return rate, a.err
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}
