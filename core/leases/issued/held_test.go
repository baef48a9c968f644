package issued_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestRestoredLeasesAreHeld goes back to a snapshot that knows neither of a
// renewal, nor that a user is gone, nor of one that was made since.
func TestRestoredLeasesAreHeld(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	c := kit.NewCluster(t, 3, kit.At(clock), kit.Engines(p.engine()))
	s := c.Leader()
	mount(s)
	owner := s.Put("auth/token/create", body{"policies": "root", "ttl": "1h"}).Text("auth", "client_token")
	ask := func(token string) (id, user string) {
		got := s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a?ttl=1h&max_ttl=20h", Token: token})
		return got.Text("lease_id"), got.Text("data", "username")
	}
	renewed, first := ask("")
	over, second := ask("")
	owned, third := ask(owner)
	asked, fourth := ask("")
	snapshot := s.Do(kit.Request{Path: "sys/storage/raft/snapshot"}).Raw
	clock.Advance(time.Second)
	s.Put("sys/leases/renew", body{"lease_id": renewed, "increment": "10h"})
	eventually(t, "the snapshot is restored", func() bool { // perhaps not while leaders change
		return c.Leader().Do(kit.Request{Method: http.MethodPost, Path: "sys/storage/raft/snapshot", Body: snapshot}).Status == http.StatusNoContent
	})
	s = c.Leader()
	_, fifth := ask("") // since then
	clock.Advance(2 * time.Hour)
	settles(t, p, first, second, third, fourth) // what came since ended
	for range 2 {
		told := s.Get("sys/leases/held")
		if told.At("data", "held") != true || len(told.At("data", "leases").([]any)) != 4 || fmt.Sprint(told.At("data", "snapshot_index")) == "0" {
			t.Errorf("told %s", told.Raw)
		}
		c.StepDown()
		s = c.Leader()
		_, sixth := ask("")
		if fifth == sixth {
			t.Fatal("the same user twice")
		}
		clock.Advance(2 * time.Hour)
		settles(t, p, first, second, third, fourth)
	}
	if got := s.Put("sys/leases/renew", body{"lease_id": renewed, "increment": "10h"}); fmt.Sprint(got.At("lease_duration")) != "36000" {
		t.Errorf("renewed to %s", got.Raw)
	}
	s.Put("sys/leases/revoke", body{"lease_id": asked}) // a request is a request
	settles(t, p, first, second, third)
	dry := s.Put("sys/leases/release", body{"dry_run": true})
	if raw := string(dry.Raw); strings.Contains(raw, renewed) || !strings.Contains(raw, over) || !strings.Contains(raw, owned) || dry.At("data", "released") != false {
		t.Errorf("would end %s", raw)
	}
	if page := s.Get("sys/leases/held?limit=1"); len(page.At("data", "leases").([]any)) != 1 || page.Text("data", "next") == "" ||
		len(s.Get("sys/leases/held?limit=1&after="+page.Text("data", "next")).At("data", "leases").([]any)) != 1 {
		t.Errorf("a page %s", page.Raw)
	}
	if got := s.Put("sys/leases/release", nil); got.At("data", "released") != true {
		t.Errorf("released %s", got.Raw)
	}
	settles(t, p, first)
	if got := s.Get("sys/leases/held"); got.At("data", "held") != false {
		t.Errorf("still held %s", got.Raw)
	}
	if users := p.list(); !slices.Equal(users, []string{first}) {
		t.Errorf("users %q", users)
	}
}

// TestTokensAfterARestore goes back to a snapshot: a token ends by what that says,
// one that was revoked since is good again, and neither takes along what was made
// for it.
func TestTokensAfterARestore(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	made := func() (token, user string) {
		token = s.Put("auth/token/create", body{"policies": "root", "ttl": "1h"}).Text("auth", "client_token")
		return token, s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a?ttl=1h&max_ttl=20h", Token: token}).Text("data", "username")
	}
	renewed, first := made()
	revoked, _ := made()
	lookup := func(token string) int {
		return s.Do(kit.Request{Path: "auth/token/lookup-self", Token: token}).Status
	}
	snapshot := s.Do(kit.Request{Path: "sys/storage/raft/snapshot"}).Raw
	s.Put("auth/token/renew", body{"token": renewed, "increment": "10h"})
	s.Put("auth/token/revoke", body{"token": revoked})
	settles(t, p, first)
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPost, Path: "sys/storage/raft/snapshot", Body: snapshot})
	if lookup(revoked) != http.StatusOK || lookup(renewed) != http.StatusOK {
		t.Error("a token of the snapshot is no good")
	}
	clock.Advance(2 * time.Hour)
	if lookup(revoked) != http.StatusForbidden || lookup(renewed) != http.StatusForbidden {
		t.Error("a token is good for longer than the snapshot says")
	}
	if got := s.Get("sys/leases/held"); len(got.At("data", "leases").([]any)) != 2 {
		t.Errorf("held %s", got.Raw)
	}
	settles(t, p, first)
	s.Put("sys/leases/release", nil)
	settles(t, p)
}
