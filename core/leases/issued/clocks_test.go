package issued_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestClocksThatAreSet sets the clock of one node after the other an hour ahead
// and back, while it follows, while it leads and while it is down: a lease ends
// when its time is over, and neither before nor much later.
func TestClocksThatAreSet(t *testing.T) {
	t.Parallel()
	p := newPlace()
	clocks := []*kit.Clock{kit.NewClock(), kit.NewClock(), kit.NewClock()}
	pass := func(d time.Duration) {
		for _, c := range clocks {
			c.Advance(d)
		}
	}
	c := kit.NewCluster(t, 3, kit.AtEach(clocks...), kit.Engines(p.engine()))
	mount(c.Leader())
	kept := c.Leader().Get("fake/creds/a?ttl=30m").Text("data", "username")
	// works has the leader go through a round: what it revokes shows that it did.
	// An answer may be lost while leaders change, but not the lease.
	works := func() {
		t.Helper()
		eventually(t, "somebody leads", func() bool {
			return c.Leader().Do(kit.Request{Path: "fake/creds/b?ttl=10m"}).Status == http.StatusOK
		})
		eventually(t, "it is revoked", func() bool {
			c.Leader().Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke-prefix/fake/creds/b"})
			return slices.Equal(p.list(), []string{kept})
		})
	}
	for _, by := range []time.Duration{time.Hour, -time.Hour, -time.Hour, time.Hour} {
		for i, clock := range clocks {
			clock.Set(by)
			works()
			c.StepDown()
			works()
			s := c.Nodes[i] // starts by the clock that was set
			c.Kill(s)
			pass(time.Second)
			works()
			c.Start(s)
			pass(time.Second)
			works()
		}
	}
	pass(29 * time.Minute) // and 24 seconds
	works()
	pass(40 * time.Second)
	settles(t, p)
	eventually(t, "the lease is gone", func() bool {
		ids, _ := leased(c.Leader(), "fake/creds/a")
		return !slices.Contains(ids, kept) && len(ids) == 0
	})
}
