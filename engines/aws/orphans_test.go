package aws_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core"
	engine "github.com/coffer-secrets/coffer/engines/aws"
	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// own gives each node an engine of its own, as each process has.
func own() kit.Option {
	return kit.Core(func(c *core.Config) { c.Engines = append(slices.Clone(c.Engines), engine.New()) })
}

// leased lists the users of live leases.
func leased(s *kit.Server) []string {
	var names []string
	for _, id := range s.Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/aws/creds/dev"}).Strings("data", "keys") {
		r := s.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/lookup", Body: body{"lease_id": "aws/creds/dev/" + id}})
		names = append(names, r.Text("data", "created", "username"))
	}
	slices.Sort(names)
	return names
}

// settle waits for something that the leader brings about in the course of time.
func settle(t *testing.T, clock *kit.Clock, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !is(); {
		select {
		case <-tick.C:
			clock.Advance(5 * time.Second) // also beyond the time for making users
		case <-late:
			t.Fatalf("not so: %s", what)
		}
	}
}

// cluster is one of three nodes whose role dev makes all that roles can.
func cluster(t *testing.T) (*kit.Cluster, *awsfake.Fake, *kit.Clock) {
	t.Helper()
	f, clock := account(t), kit.NewClock()
	c := kit.NewCluster(t, 3, kit.At(clock), own())
	s := c.Leader()
	configure(s, f, nil)
	s.Put("aws/config/lease", body{"lease": "1h", "lease_max": "4h"})
	s.Put("aws/roles/dev", body{"credential_type": "iam_user", "policy_arns": readOnly, "policy_document": document, "iam_groups": "devs"})
	return c, f, clock
}

// made makes a user, as soon as somebody leads for long enough.
func made(t *testing.T, c *kit.Cluster, clock *kit.Clock) (r *kit.Response) {
	t.Helper()
	settle(t, clock, "a user is made", func() bool {
		r = c.Leader().Do(kit.Request{Path: "aws/creds/dev"})
		return r.Status == http.StatusOK
	})
	return r
}

// depose has another node lead, in one of several ways.
func depose(c *kit.Cluster, n int) {
	if n%2 == 0 {
		c.StepDown()
		return
	}
	leader := c.Leader()
	c.Cut(leader, true)
	c.Leader()
	c.Cut(leader, false)
}

// TestDeposedAtEveryStep changes the leader before and after each call by which a
// user is made and removed, while the one who leads no longer goes on.
func TestDeposedAtEveryStep(t *testing.T) {
	t.Parallel()
	c, f, clock := cluster(t)
	settled := func() bool { return slices.Equal(leased(c.Leader()), f.Users()) }
	var steps []awsfake.Step
	var mu sync.Mutex
	f.On(func(_ context.Context, step awsfake.Step) *awsfake.Error {
		mu.Lock()
		defer mu.Unlock()
		step.User = ""
		steps = append(steps, step)
		return nil
	})
	s := c.Leader()
	r := s.Get("aws/creds/dev")
	issuing := slices.Clone(steps)
	revoke(s, r)
	revoking := steps[len(issuing):]
	if len(issuing) < 10 || len(revoking) < 16 {
		t.Fatalf("the steps are %v and %v", issuing, revoking)
	}
	at := func(want awsfake.Step, n int) {
		var once sync.Once
		f.On(func(_ context.Context, step awsfake.Step) *awsfake.Error {
			if step.User = ""; step == want {
				once.Do(func() { depose(c, n) })
			}
			return nil
		})
	}
	for i, step := range issuing {
		at(step, i)
		c.Nodes[i%3].Do(kit.Request{Path: "aws/creds/dev"})
		settle(t, clock, "the users are those of leases after "+step.Action, settled)
	}
	f.On(nil)
	settle(t, clock, "all leases are ordered to end", func() bool {
		return c.Leader().Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke-prefix/aws", Body: body{"sync": true}}).Status == http.StatusNoContent
	})
	for i, step := range revoking {
		r := made(t, c, clock)
		if i%4 == 1 {
			f.Clutter(f.Users()[0])
		}
		at(step, i)
		c.Nodes[i%3].Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Body: body{"lease_id": r.Text("lease_id"), "sync": false}})
		settle(t, clock, "the user is gone after "+step.Action, func() bool { return len(f.Users()) == 0 && len(leased(c.Leader())) == 0 })
		f.On(nil)
	}
	f.On(nil)
	clock.Advance(5 * time.Hour)
	settle(t, clock, "all users are gone", func() bool { return len(f.Users()) == 0 && len(leased(c.Leader())) == 0 })
}

// TestNoOrphans makes, renews and revokes users while leaders change and AWS
// fails, is slow and loses answers: in the end the users are those of live leases.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	c, f, clock := cluster(t)
	change := make(chan struct{}, 1)
	f.On(func(_ context.Context, step awsfake.Step) *awsfake.Error {
		switch rand.IntN(40) {
		case 0:
			select {
			case change <- struct{}{}:
			default:
			}
		case 1:
			return awsfake.Throttling()
		case 2:
			return &awsfake.Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "down"}
		case 3:
			if !step.Done { // what AWS refuses, it does not do
				return &awsfake.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "no"}
			}
		}
		return nil
	})
	var clients, changes sync.WaitGroup
	done := make(chan struct{})
	changes.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-change:
				depose(c, n)
			}
		}
	})
	for i := range 4 {
		clients.Go(func() {
			for n := range 12 {
				s := c.Nodes[(i+n)%3]
				id := s.Do(kit.Request{Path: "aws/creds/dev"}).Text("lease_id")
				switch {
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
	close(done)
	changes.Wait()
	f.On(nil)
	defer func() {
		if t.Failed() {
			l := c.Leader()
			t.Logf("users %q, leased %q", f.Users(), leased(l))
			t.Logf("stuck %s", l.Do(kit.Request{Path: "sys/leases/stuck"}).Raw)
		}
	}()
	settle(t, clock, "the users are those of live leases", func() bool { return slices.Equal(leased(c.Leader()), f.Users()) })
	if len(f.Users()) == 0 {
		t.Error("nobody is left")
	}
	for _, s := range c.Nodes {
		if strings.Contains(s.Log(), "AKIA") {
			t.Error("a key is in the log")
		}
	}
	clock.Advance(5 * time.Hour)
	settle(t, clock, "all users are gone", func() bool { return len(f.Users()) == 0 && len(leased(c.Leader())) == 0 })
}
