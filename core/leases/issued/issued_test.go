package issued_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestLifeOfALease(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	got := s.Get("fake/creds/a?ttl=1h&max_ttl=3h")
	id := got.Text("lease_id")
	if !strings.HasPrefix(id, "fake/creds/a/") || fmt.Sprint(got.At("lease_duration")) != "3600" || got.At("renewable") != true || got.Text("data", "password") != "p" {
		t.Fatalf("answer %s", got.Raw)
	}
	settles(t, p, got.Text("data", "username"))
	found := s.Put("sys/leases/lookup", body{"lease_id": id})
	if found.Text("data", "created", "username") != "u-1" || found.Text("data", "path") != "fake/creds/a" || found.Text("data", "state") != "live" {
		t.Errorf("lease %s", found.Raw)
	}
	if got := s.Get("sys/leases/lookup?lease_id=" + id); got.Text("data", "id") != id {
		t.Errorf("by query %s", got.Raw)
	}
	clock.Advance(30 * time.Minute)
	if got := s.Put("sys/leases/renew", body{"lease_id": id, "increment": "90m"}); fmt.Sprint(got.At("lease_duration")) != "5400" || got.Text("lease_id") != id {
		t.Errorf("renewed to %s", got.Raw)
	}
	if end := p.users["u-1"]; !end.Equal(clock.Wall().Add(90*time.Minute)) && end.Sub(clock.Wall()) < 89*time.Minute {
		t.Errorf("the target was told of %s", end)
	}
	clock.Advance(80 * time.Minute)
	got = s.Put("sys/leases/renew/"+id, body{"increment": "90m"})
	if fmt.Sprint(got.At("lease_duration")) != "4200" || len(got.Strings("warnings")) != 1 {
		t.Errorf("renewed beyond the maximum: %s", got.Raw)
	}
	p.extend = errors.New("no")
	s.Must(http.StatusBadGateway, kit.Request{Method: http.MethodPut, Path: "sys/leases/renew", Body: body{"lease_id": id}})
	p.extend = nil
	clock.Advance(69 * time.Minute)
	settles(t, p, "u-1")
	clock.Advance(2 * time.Minute)
	settles(t, p)
	eventually(t, "the lease is gone", func() bool { ids, _ := leased(s, "fake/creds/a"); return ids == nil })
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/renew", Body: body{"lease_id": id}})
}

func TestRevokeByHand(t *testing.T) {
	t.Parallel()
	p := newPlace()
	s := start(t, p)
	one, two := s.Get("fake/creds/a"), s.Get("fake/creds/a")
	other := s.Get("fake/creds/b")
	s.Put("sys/leases/revoke", body{"lease_id": one.Text("lease_id")})
	if got := p.list(); !slices.Equal(got, []string{"u-2", "u-3"}) {
		t.Errorf("awaited, but left %q", got)
	}
	s.Put("sys/leases/revoke-prefix/fake/creds/a", nil)
	if got := p.list(); !slices.Equal(got, []string{"u-3"}) {
		t.Errorf("awaited, but left %q", got)
	}
	s.Put("sys/leases/revoke/"+two.Text("lease_id"), nil) // has ended
	s.Put("sys/leases/revoke/"+other.Text("lease_id"), body{"sync": false})
	settles(t, p)
}

func TestStuckTarget(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	bad, good := s.Get("fake/creds/bad").Text("lease_id"), s.Get("fake/creds/good").Text("lease_id")
	s.Get("fake/creds/bad")
	p.jam("bad", true)
	refused := s.Must(http.StatusBadGateway, kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Body: body{"lease_id": bad}})
	if !strings.Contains(string(refused.Raw), "target bad is down") {
		t.Errorf("refused with %s", refused.Raw)
	}
	s.Put("sys/leases/revoke", body{"lease_id": good}) // is not held up
	s.Must(http.StatusBadGateway, kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke-prefix/fake"})
	eventually(t, "both count as stuck", func() bool {
		clock.Advance(20 * time.Second)
		return fmt.Sprint(s.Get("sys/leases/count?type=irrevocable").At("data", "counts", "fake/")) == "2"
	})
	shown := s.Get("sys/leases/stuck")
	if !strings.Contains(string(shown.Raw), bad) || !strings.Contains(string(shown.Raw), "target bad is down") {
		t.Errorf("stuck %s", shown.Raw)
	}
	if got := s.Put("sys/leases/lookup", body{"lease_id": bad}); got.Text("data", "revoke_error") != "target bad is down" || got.Text("data", "next_attempt") == "" {
		t.Errorf("lease %s", got.Raw)
	}
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/renew", Body: body{"lease_id": bad}})
	p.jam("bad", false)
	eventually(t, "they are gone in the end", func() bool {
		clock.Advance(time.Minute)
		return len(p.list()) == 0
	})
	s.Get("fake/creds/bad")
	p.jam("bad", true)
	s.Put("sys/leases/revoke-force/fake/creds/bad", nil)
	if ids, _ := leased(s, "fake/creds/bad"); ids != nil {
		t.Errorf("not forgotten: %q", ids)
	}
}

func TestDeathOfTheToken(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	s.Policy("user", `path "fake/creds/*" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["update"] }`)
	ask := func(token string) string {
		return s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a?ttl=10h", Token: token}).Text("data", "username")
	}
	token := func(b body) string { return s.Put("auth/token/create", b).Text("auth", "client_token") }
	revoked, expiring := token(body{"policies": "user", "ttl": "2h"}), token(body{"policies": "user", "ttl": "2h"})
	child := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create", Token: revoked, Body: body{"ttl": "1h"}}).Text("auth", "client_token")
	kept := ask(s.Root)
	ask(revoked)
	ask(revoked)
	ask(child)
	late := ask(expiring)
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "auth/token/revoke-self", Token: revoked})
	settles(t, p, kept, late)
	last := token(body{"policies": "user", "num_uses": 1})
	s.Must(http.StatusBadRequest, kit.Request{Path: "fake/creds/a", Token: last})
	s.Must(http.StatusForbidden, kit.Request{Path: "fake/creds/a", Token: last})
	two := token(body{"policies": "user", "num_uses": 2})
	ask(two)
	s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: two}) // its last use
	settles(t, p, kept, late)
	batch := token(body{"policies": "user", "type": "batch", "ttl": "1h"})
	got := s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a?ttl=10h", Token: batch})
	if fmt.Sprint(got.At("lease_duration")) != "3600" {
		t.Errorf("outlives its batch token: %s", got.Raw)
	}
	clock.Advance(2*time.Hour + time.Second)
	settles(t, p, kept)
}

func TestDisabledWayToLogIn(t *testing.T) {
	t.Parallel()
	p := newPlace()
	s := start(t, p)
	s.Policy("user", `path "fake/creds/*" { capabilities = ["read"] }`)
	s.Put("sys/auth/userpass", body{"type": "userpass"})
	s.Put("auth/userpass/users/bob", body{"password": "long enough a word", "token_policies": "user"})
	token := s.Put("auth/userpass/login/bob", body{"password": "long enough a word"}).Text("auth", "client_token")
	s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a", Token: token})
	kept := s.Get("fake/creds/a").Text("data", "username")
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodDelete, Path: "sys/auth/userpass"})
	settles(t, p, kept)
}

func TestDisabledAndMovedMount(t *testing.T) {
	t.Parallel()
	p := newPlace()
	s := start(t, p)
	s.Get("fake/creds/a")
	s.Put("sys/remount", body{"from": "fake", "to": "false"})
	settles(t, p)
	s.Get("false/creds/a")
	s.Get("false/creds/b")
	p.jam("a", true)
	told := s.Must(http.StatusOK, kit.Request{Method: http.MethodDelete, Path: "sys/mounts/false"})
	if text := fmt.Sprint(told.At("warnings")); !strings.Contains(text, "had 2 leases") || !strings.Contains(text, "force=true") {
		t.Errorf("told %s", told.Raw)
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "false/creds/a"})
	settles(t, p, "u-2")
	s.Put("sys/mounts/false", body{"type": "fake"}) // another one at the same path
	s.Put("false/config", body{"text": "x"})
	kept := s.Get("false/creds/b").Text("data", "username")
	p.jam("a", false)
	settles(t, p, kept)
	eventually(t, "the order is carried out", func() bool { ids, _ := leased(s, "false/creds/a"); return ids == nil })
	settles(t, p, kept)
}

// TestDisabledByForce gives up what cannot be undone, and only that.
func TestDisabledByForce(t *testing.T) {
	t.Parallel()
	p := newPlace()
	s := start(t, p)
	s.Get("fake/creds/a")
	s.Get("fake/creds/b")
	p.jam("a", true)
	told := s.Must(http.StatusOK, kit.Request{Method: http.MethodDelete, Path: "sys/mounts/fake?force=true"})
	if text := fmt.Sprint(told.At("warnings")); !strings.Contains(text, "given up") {
		t.Errorf("told %s", told.Raw)
	}
	settles(t, p, "u-1")
	if found, _ := s.Get("sys/leases/search").At("data", "leases").([]any); len(found) != 0 {
		t.Errorf("there are leases: %v", found)
	}
	mount(s)
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodDelete, Path: "sys/mounts/fake?force=true"})
}

// TestFailures ends making a user in each way it can fail: nothing may be left.
func TestFailures(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	s.Policy("user", `path "fake/creds/*" { capabilities = ["read"] }`)
	token := s.Login("user")
	refused := engines.Errorf(engines.KindUpstream, "no such privilege")
	for name, c := range map[string]struct {
		during func(ctx context.Context, user string, made bool) error
		status int
	}{
		"refused":         {func(_ context.Context, _ string, made bool) error { return unless(made, refused) }, http.StatusBadGateway},
		"made and failed": {func(_ context.Context, _ string, made bool) error { return unless(!made, refused) }, http.StatusBadGateway},
		"unknown error":   {func(_ context.Context, _ string, made bool) error { return unless(!made, errors.New("secret")) }, http.StatusBadGateway},
		"not made": {func(_ context.Context, _ string, _ bool) error {
			return &engines.Error{Kind: engines.KindUpstream, Message: "unreachable", Cause: engines.ErrNotMade}
		}, http.StatusBadGateway},
		"overtaken": {func(_ context.Context, _ string, made bool) error {
			if made {
				clock.Advance(2 * time.Minute)
			}
			return nil
		}, http.StatusBadGateway},
		"revoked meanwhile": {func(_ context.Context, _ string, made bool) error {
			if made {
				s.Put("sys/leases/revoke-prefix/fake", body{"sync": false})
			}
			return nil
		}, http.StatusBadGateway},
		"token revoked meanwhile": {func(_ context.Context, _ string, made bool) error {
			if made {
				s.Put("auth/token/revoke", body{"token": token})
			}
			return nil
		}, http.StatusForbidden},
	} {
		p.interrupt(c.during)
		got := s.Do(kit.Request{Path: "fake/creds/a", Token: token})
		if got.Status != c.status || strings.Contains(string(got.Raw), "secret") {
			t.Errorf("%s: %d %s", name, got.Status, got.Raw)
		}
		p.interrupt(nil)
		settles(t, p)
		if keys := s.Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/fake/creds/a"}); keys.Status != http.StatusNotFound {
			t.Errorf("%s: there are leases: %s", name, keys.Raw)
		}
		if name == "token revoked meanwhile" {
			token = s.Login("user")
		}
	}
	// What comes after the lease was revoked is found by the second look.
	p.mu.Lock()
	p.users["u-1"] = time.Time{}
	p.mu.Unlock()
	clock.Advance(time.Hour)
	eventually(t, "every lease is gone", func() bool { ids, _ := leased(s, "fake/creds/a"); return ids == nil })
}

func unless(skip bool, err error) error {
	if skip {
		return nil
	}
	return err
}

// TestSlowMaker has what makes a user wake up after the lease was revoked.
func TestSlowMaker(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	asleep, wake := make(chan struct{}), make(chan struct{})
	p.interrupt(func(_ context.Context, _ string, made bool) error {
		if !made {
			close(asleep)
			<-wake
		}
		return nil
	})
	answered := make(chan int)
	go func() { answered <- s.Do(kit.Request{Path: "fake/creds/a"}).Status }()
	<-asleep
	s.Put("sys/leases/revoke-prefix/fake", body{"sync": false})
	eventually(t, "it was revoked", func() bool { return p.calls.Load() > 0 })
	close(wake)
	if status := <-answered; status != http.StatusBadGateway {
		t.Errorf("answered with %d", status)
	}
	settles(t, p, "u-1") // too late for the first revocation
	clock.Advance(time.Minute)
	settles(t, p)
}

func TestQuotaAndWrapping(t *testing.T) {
	t.Parallel()
	p := newPlace()
	s := start(t, p)
	s.Put("sys/quotas/lease-count/few", body{"path": "fake", "max_leases": 2})
	first := s.Get("fake/creds/a").Text("lease_id")
	s.Get("fake/creds/a")
	s.Must(http.StatusTooManyRequests, kit.Request{Path: "fake/creds/a"})
	s.Put("sys/leases/revoke", body{"lease_id": first})
	got := s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a", Header: http.Header{"X-Vault-Wrap-Ttl": {"5m"}}})
	opened := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "sys/wrapping/unwrap", Token: got.Text("wrap_info", "token")})
	if !strings.HasPrefix(opened.Text("lease_id"), "fake/creds/a/") || opened.Text("data", "password") != "p" {
		t.Errorf("unwrapped %s", opened.Raw)
	}
}

// TestManyAtOnce: what is due at once is undone in few batches.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const each, askers = 40, 8
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	var asking sync.WaitGroup
	for range askers {
		asking.Go(func() {
			for range each {
				if got := s.Do(kit.Request{Path: "fake/creds/a?ttl=1h"}); got.Status != http.StatusOK {
					t.Errorf("refused: %s", got.Raw)
				}
			}
		})
	}
	asking.Wait()
	if got := len(p.list()); got != each*askers {
		t.Fatalf("%d users", got)
	}
	token := s.Put("auth/token/create", body{"ttl": "1h"}).Text("auth", "client_token")
	clock.Advance(time.Hour)
	settles(t, p)
	if calls := p.calls.Load(); calls > 40 {
		t.Errorf("undone in %d batches", calls)
	}
	s.Must(http.StatusForbidden, kit.Request{Path: "auth/token/lookup-self", Token: token})
	eventually(t, "no lease is left", func() bool { ids, _ := leased(s, "fake/creds/a"); return ids == nil })
}

func TestSearch(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	s.Policy("user", `path "fake/creds/*" { capabilities = ["read"] }`)
	s.Get("fake/creds/a")
	s.Get("fake/creds/b")
	clock.Advance(time.Hour)
	token := s.Login("user")
	s.Must(http.StatusOK, kit.Request{Path: "fake/creds/b", Token: token})
	accessor := s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: token}).Text("data", "accessor")
	count := func(query string) int {
		found, _ := s.Get("sys/leases/search?"+query).At("data", "leases").([]any)
		return len(found)
	}
	for query, want := range map[string]int{
		"": 3, "role=b": 2, "role=b&older_than=30m": 1, "accessor=" + accessor: 1, "mount=fake": 3, "mount=other": 0, "client_address=127.0.0.1": 3, "entity_id=x": 0,
	} {
		if got := count(query); got != want {
			t.Errorf("%q finds %d, want %d", query, got, want)
		}
	}
	seen := 0
	for next, rounds := "", 0; rounds < 5; rounds++ {
		page := s.Get("sys/leases/search?limit=1&after=" + next)
		found, _ := page.At("data", "leases").([]any)
		seen += len(found)
		if next = page.Text("data", "next"); next == "" {
			break
		}
	}
	if seen != 3 {
		t.Errorf("%d leases in pages", seen)
	}
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke-by", Body: body{}})
	if found := s.Must(http.StatusOK, kit.Request{Path: "sys/leases/search", Token: token}).At("data", "leases"); len(found.([]any)) != 1 {
		t.Errorf("without sudo, found %v", found)
	}
	if got := s.Put("sys/leases/revoke-by", body{"role": "b", "dry_run": true}).Strings("data", "lease_ids"); len(got) != 2 || len(p.list()) != 3 {
		t.Errorf("a dry run of %q left %q", got, p.list())
	}
	for next, rounds := "", 0; rounds < 5; rounds++ { // what is gone is no end of the pages
		if next = s.Put("sys/leases/revoke-by", body{"role": "b", "limit": 1, "after": next}).Text("data", "next"); next == "" {
			break
		}
		eventually(t, "the page is gone", func() bool { return count("accessor="+accessor)+count("role=b") < 3 })
	}
	settles(t, p, "u-1")
}
