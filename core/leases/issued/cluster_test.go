package issued_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestNoOrphans changes the leader again and again while users are made, renewed
// and revoked, at every step of making one: in the end the users are those of
// live leases.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	c := kit.NewCluster(t, 3, kit.At(clock), kit.Engines(p.engine()))
	mount(c.Leader())
	change := make(chan struct{}, 1)
	p.interrupt(func(context.Context, string, bool) error {
		if rand.IntN(4) == 0 {
			select {
			case change <- struct{}{}:
			default:
			}
		}
		return nil
	})
	done := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-change:
			}
			switch leader := c.Leader(); n % 3 {
			case 0:
				c.StepDown()
			default:
				c.Cut(leader, true)
				c.Leader()
				c.Cut(leader, false)
			}
		}
	})
	var clients sync.WaitGroup
	for i := range 6 {
		clients.Go(func() {
			for n := range 10 {
				s := c.Nodes[(i+n)%len(c.Nodes)]
				got := s.Do(kit.Request{Path: "fake/creds/a?ttl=1h"})
				if got.Status != http.StatusOK {
					continue
				}
				switch n % 3 {
				case 0:
					s.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Body: body{"lease_id": got.Text("lease_id"), "sync": false}})
				case 1:
					s.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/renew", Body: body{"lease_id": got.Text("lease_id"), "increment": "2h"}})
				}
			}
		})
	}
	clients.Wait()
	close(done)
	changes.Wait()
	p.interrupt(nil)
	var users []string
	defer func() {
		if t.Failed() {
			t.Logf("live leases for %q, users %q", users, p.list())
		}
	}()
	eventually(t, "the users are those of live leases", func() bool {
		clock.Advance(time.Second) // beyond the time for making any; a new leader takes over the time of its log
		_, users = leased(c.Leader(), "fake/creds/a")
		return slices.Equal(users, p.list())
	})
	if len(p.list()) == 0 {
		t.Error("nothing was made at all")
	}
	clock.Advance(3 * time.Hour)
	settles(t, p)
	eventually(t, "no lease is left", func() bool { ids, _ := leased(c.Leader(), "fake/creds/a"); return ids == nil })
	c.Equal()
}

// TestDeposedMaker has a leader that is cut off wake up and make a user after
// its successor revoked the lease.
func TestDeposedMaker(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	c := kit.NewCluster(t, 3, kit.At(clock), kit.Engines(p.engine()))
	old := c.Leader()
	mount(old)
	asleep, wake := make(chan struct{}), make(chan struct{})
	var once sync.Once
	p.interrupt(func(_ context.Context, _ string, made bool) error {
		if !made {
			once.Do(func() { close(asleep) })
			<-wake
		}
		return nil
	})
	answered := make(chan int, 1)
	go func() { answered <- old.Do(kit.Request{Path: "fake/creds/a"}).Status }()
	<-asleep
	c.Cut(old, true)
	next := c.Leader()
	next.Put("sys/leases/revoke-prefix/fake", body{"sync": false})
	eventually(t, "its successor revoked", func() bool { return p.calls.Load() > 0 })
	close(wake)
	eventually(t, "the user was made all the same", func() bool { return len(p.list()) == 1 })
	c.Cut(old, false)
	if status := <-answered; status == http.StatusOK {
		t.Error("a user that is revoked was answered with")
	}
	clock.Advance(2 * time.Minute)
	settles(t, p)
	eventually(t, "no lease is left", func() bool { ids, _ := leased(c.Leader(), "fake/creds/a"); return ids == nil })
}

// TestAwaitedOverAChangeOfLeaders has the leader lose its lead while it undoes
// what somebody waits for.
func TestAwaitedOverAChangeOfLeaders(t *testing.T) {
	t.Parallel()
	p := newPlace()
	hangs := make(chan struct{})
	var once sync.Once
	p.undoing = func(ctx context.Context) {
		once.Do(func() {
			close(hangs)
			<-ctx.Done()
		})
	}
	c := kit.NewCluster(t, 3, kit.Engines(p.engine()))
	old := c.Leader()
	mount(old)
	id := old.Get("fake/creds/a").Text("lease_id")
	answered := make(chan *kit.Response, 1)
	go func() {
		answered <- old.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Body: body{"lease_id": id}})
	}()
	<-hangs
	c.StepDown()
	if got := <-answered; got.Status != http.StatusNoContent || len(p.list()) != 0 {
		t.Errorf("answered %d %s, left %q", got.Status, got.Raw, p.list())
	}
}
