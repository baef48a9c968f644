package database_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/engines/database"
	"github.com/coffer-secrets/coffer/engines/database/postgres"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// gate stops the next one who sets a password, once, before or after the database
// is told.
type gate struct {
	after, dies bool

	mu      sync.Mutex
	armed   bool
	reached chan struct{}
	open    chan struct{}
	passed  chan struct{}
}

// arm has the next one stop. Who dies goes no further than to where it is stopped.
func (g *gate) arm(after, dies bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed, g.after, g.dies = true, after, dies
	g.reached, g.open, g.passed = make(chan struct{}), make(chan struct{}), make(chan struct{})
}

func (g *gate) take() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.armed
	g.armed = false
	return taken
}

// plugin is PostgreSQL behind the gate.
func (g *gate) plugin() *database.Plugin {
	p := postgres.Plugin()
	open := p.Open
	p.Open = func(s *database.Settings) (database.Database, error) {
		db, err := open(s)
		return gated{db, g}, err
	}
	return p
}

func (g *gate) option() kit.Option {
	return kit.Core(func(c *core.Config) {
		for i, e := range c.Engines {
			if e.Type == database.Type {
				c.Engines[i] = database.New(g.plugin())
			}
		}
	})
}

type gated struct {
	database.Database
	g *gate
}

// Rotate implements database.Database.
func (d gated) Rotate(ctx context.Context, u *database.User) error {
	if !d.g.take() {
		return d.Database.Rotate(ctx, u)
	}
	defer close(d.g.passed)
	if d.g.after {
		if err := d.Database.Rotate(ctx, u); err != nil {
			return err
		}
	}
	close(d.g.reached)
	if d.g.dies {
		<-ctx.Done()
		return ctx.Err()
	}
	<-d.g.open
	if d.g.after {
		return nil
	}
	return d.Database.Rotate(context.WithoutCancel(ctx), u) // in time still, as far as it knows
}

// TestRotationOvertaken kills or stops the leader at each step of a rotation. The
// password that is given out is the database's, also when the one who was stopped
// goes on after others have changed it.
func TestRotationOvertaken(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"before the database is told": false, "before it is confirmed": true} {
		t.Run("killed "+name, func(t *testing.T) { t.Parallel(); overtaken(t, after, true) })
		t.Run("stopped "+name, func(t *testing.T) { t.Parallel(); overtaken(t, after, false) })
	}
}

func overtaken(t *testing.T, after, dies bool) {
	t.Helper()
	g, clock := new(gate), kit.NewClock()
	c := kit.NewCluster(t, 3, kit.At(clock), g.option())
	first := c.Leader()
	first.Mount("database", "database", nil)
	name := map[bool]string{false: "overtaken-told", true: "overtaken-set"}[after] + map[bool]string{false: "-stopped", true: "-killed"}[dies]
	// A user of its own: who overtakes ends the sessions of all of its kind.
	exec(t, `DROP ROLE IF EXISTS "`+name+`-admin"; CREATE ROLE "`+name+`-admin" SUPERUSER LOGIN PASSWORD 'admin'`)
	first.Put("database/config/orders-db", connection(body{"username": name + "-admin", "password": "admin"}))
	owner(t, name, name+"-other")
	first.Put("database/static-roles/app-one", static(name, nil))
	first.Put("database/static-roles/app-other", static(name+"-other", nil))
	old := keptBy(first, "app-one")

	rotate := func(s *kit.Server, role string) int {
		return s.Do(kit.Request{Method: http.MethodPut, Path: "database/rotate-role/" + role}).Status
	}
	var asked sync.WaitGroup
	defer asked.Wait()
	g.arm(after, dies)
	asked.Go(func() { rotate(first, "app-one") })
	<-g.reached
	if dies {
		c.Kill(first)
	} else {
		c.Cut(first, true)
	}
	next := c.Leader()
	until(t, "the next leader sets the password", func() bool {
		now := keptBy(next, "app-one")
		return now.password != "" && now != old && logsIn(t, now.user, now.password)
	})
	second := keptBy(next, "app-one")
	if dies {
		c.Start(first)
		next = c.Leader()
	}
	before := next.Index()
	asked.Go(func() { rotate(next, "app-one") })
	until(t, "it is asked for", func() bool { return next.Index() > before })
	if status := rotate(next, "app-other"); status != http.StatusNoContent {
		t.Fatalf("another is not rotated: %d", status)
	}
	if now := keptBy(next, "app-one"); now != second {
		t.Error("the password is changed while another leader may yet set the one before")
	}
	if !dies {
		close(g.open)
		<-g.passed
		c.Cut(first, false)
		next = c.Leader()
	}
	clock.Advance(30 * time.Second)
	until(t, "the password is changed once more", func() bool {
		now := keptBy(next, "app-one")
		return now.password != "" && now != second
	})
	last := keptBy(next, "app-one")
	if !logsIn(t, last.user, last.password) || logsIn(t, last.user, second.password) || logsIn(t, old.user, old.password) {
		t.Error("the password that is given out is not the only one that the database takes")
	}
}
