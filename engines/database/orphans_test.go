package database_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
	"github.com/coffer-secrets/coffer/testing/targets"
)

// leased lists the users of live leases.
func leased(s *kit.Server) []string {
	var names []string
	for _, id := range s.Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/database/creds/app"}).Strings("data", "keys") {
		r := s.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/lookup", Body: body{"lease_id": "database/creds/app/" + id}})
		names = append(names, r.Text("data", "created", "username"))
	}
	slices.Sort(names)
	return names
}

// trouble changes the leader, cuts it off, kills the database, or cuts it off for
// a while, each time that it is asked to, until nobody does any more.
func trouble(t *testing.T, c *kit.Cluster, at *targets.Target, asked <-chan struct{}) {
	t.Helper()
	for range asked {
		switch rand.IntN(4) {
		case 0:
			c.StepDown()
		case 1:
			if err := at.Server.Stop(); err != nil {
				t.Error(err)
			}
			if err := at.Server.Resume(); err != nil {
				t.Error(err)
			}
		case 2:
			at.Wire.Cut(true)
			c.StepDown()
			at.Wire.Cut(false)
		default:
			leader := c.Leader()
			c.Cut(leader, true)
			c.Leader()
			c.Cut(leader, false)
		}
	}
}

// TestNoOrphans changes leaders, kills the database and cuts it off while users
// are made, renewed and revoked: in the end the users are those of live leases.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	for kind, start := range targets.Kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			noOrphans(t, targets.Start(t, start))
		})
	}
}

func noOrphans(t *testing.T, at *targets.Target) {
	t.Helper()
	clock := kit.NewClock()
	c := kit.NewCluster(t, 3, kit.At(clock))
	s := c.Leader()
	s.Mount("database", "database", nil)
	s.Put("database/config/orders-db", at.Connection())
	s.Put("database/roles/app", body{"db_name": "orders-db", "creation_statements": at.Creation, "default_ttl": "1h", "max_ttl": "4h"})
	at.Owner(t, "kept")
	settle(t, clock, "there is a static role", func() bool { // the first password may be lost with a leader
		role := body{"db_name": "orders-db", "username": "kept", "rotation_period": "5s"}
		return c.Leader().Do(kit.Request{Method: http.MethodPut, Path: "database/static-roles/app-kept", Body: role}).Status == http.StatusNoContent
	})
	for id := ""; id == ""; { // so that there is one, however the troubles fall
		id = c.Leader().Do(kit.Request{Path: "database/creds/app"}).Text("lease_id")
	}
	asked := make(chan struct{})
	var clients, troubles sync.WaitGroup
	troubles.Go(func() { trouble(t, c, at, asked) })
	for i := range 4 {
		clients.Go(func() {
			for n := range 12 {
				if rand.IntN(4) == 0 {
					select {
					case asked <- struct{}{}:
					default: // there is enough of it
					}
				}
				s := c.Nodes[(i+n)%len(c.Nodes)]
				id := s.Do(kit.Request{Path: "database/creds/app"}).Text("lease_id")
				switch {
				case n%4 == 3:
					clock.Advance(6 * time.Second) // a password is due
				case id == "":
				case n%3 == 0:
					s.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Body: body{"lease_id": id, "sync": false}})
				case n%3 == 1:
					s.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/renew", Body: body{"lease_id": id, "increment": "2h"}})
				}
			}
		})
	}
	clients.Wait()
	close(asked)
	troubles.Wait()
	settle(t, clock, "the users are those of live leases", func() bool { return slices.Equal(leased(c.Leader()), at.Made(t)) })
	if len(at.Made(t)) == 0 {
		t.Error("nobody is left")
	}
	settle(t, clock, "the static role's password is the user's", func() bool {
		kept := c.Leader().Do(kit.Request{Path: "database/static-creds/app-kept"})
		return kept.Text("data", "password") != "" && at.LogsIn(t, "kept", kept.Text("data", "password"))
	})
	clock.Advance(time.Minute)
	settle(t, clock, "it is changed once more", func() bool {
		return c.Leader().Do(kit.Request{Method: http.MethodPut, Path: "database/rotate-role/app-kept"}).Status == http.StatusNoContent
	})
	if kept := c.Leader().Get("database/static-creds/app-kept"); !at.LogsIn(t, "kept", kept.Text("data", "password")) {
		t.Error("the static role's password is not the user's after it all")
	}
	clock.Advance(5 * time.Hour)
	settle(t, clock, "all users are gone", func() bool { return len(at.Made(t)) == 0 && len(leased(c.Leader())) == 0 })
}

// settle waits for something that the leader brings about in the course of time. That
// goes on meanwhile, also beyond the time for making users: what is asked for may wait
// for it.
func settle(t *testing.T, clock *kit.Clock, what string, is func() bool) {
	t.Helper()
	done, passing := make(chan struct{}), new(sync.WaitGroup)
	passing.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				clock.Advance(time.Second)
			case <-done:
				return
			}
		}
	})
	defer passing.Wait()
	defer close(done)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for late := time.After(time.Minute); !is(); {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("not so: %s", what)
		}
	}
}
