package quotas_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestRateLimit(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("kv", "kv", nil)
	s.Put("kv/a", body{"v": "1"})
	s.Put("sys/quotas/rate-limit/q", body{"rate": 3, "interval": "1h", "path": "kv"})
	read := func() *kit.Response { return s.Do(kit.Request{Path: "kv/a"}) }
	if got := statuses(t, 5, read); got[200] != 3 || got[429] != 2 {
		t.Errorf("answers %v", got)
	}
	over := read()
	if over.Header.Get("Retry-After") == "" || over.Header.Get("X-Ratelimit-Limit") != "" || !strings.Contains(over.Errors()[0], "rate limit quota exceeded") {
		t.Errorf("refused with %v %s", over.Header, over.Raw)
	}
	s.Put("sys/quotas/config", body{"enable_rate_limit_response_headers": true, "rate_limit_exempt_paths": "kv/free*"})
	if got := read(); got.Header.Get("X-Ratelimit-Limit") != "3" || got.Header.Get("X-Ratelimit-Remaining") != "0" || got.Header.Get("X-Ratelimit-Reset") == "" {
		t.Errorf("headers %v", got.Header)
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "kv/free/x"})
	s.Must(http.StatusTooManyRequests, kit.Request{Path: "kv/other"})
	s.Get("sys/mounts") // another mount has no limit
	s.Put("sys/quotas/rate-limit/q", body{"rate": 5})
	if got := statuses(t, 7, read); got[200] != 5 {
		t.Errorf("after a change: %v", got)
	}
	got := s.Get("sys/quotas/rate-limit/q")
	if number(got, "data", "rate") != "5" || number(got, "data", "interval") != "3600" || got.Text("data", "path") != "kv/" || got.Text("data", "type") != "rate-limit" {
		t.Errorf("quota %s", got.Raw)
	}
	if got := s.List("sys/quotas/rate-limit").Strings("data", "keys"); !slices.Equal(got, []string{"q"}) {
		t.Errorf("quotas %q", got)
	}
	s.Delete("sys/quotas/rate-limit/q")
	if got := statuses(t, 9, read); got[200] != 9 {
		t.Errorf("without a quota: %v", got)
	}
	s.Must(http.StatusNotFound, kit.Request{Path: "sys/quotas/rate-limit/q"})
}

// The most specific rule counts alone.
func TestMostSpecificRule(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	roles := approle(s, "busy", "quiet")
	for name, q := range map[string]body{
		"all": {"rate": 1000}, "mount": {"path": "auth/approle", "rate": 4}, "role": {"path": "auth/approle/", "role": "busy", "rate": 2},
		"exact": {"path": "auth/approle/role/quiet", "rate": 3}, "pattern": {"path": "auth/approle/role/*", "rate": 5}, "longer": {"path": "auth/approle/role/b*", "rate": 6},
	} {
		q["interval"] = "1h"
		s.Put("sys/quotas/rate-limit/"+name, q)
	}
	login := func(role string) func() *kit.Response {
		return func() *kit.Response { return put(s, kit.NoToken, "auth/approle/login", roles[role]) }
	}
	read := func(path string) func() *kit.Response {
		return func() *kit.Response { return s.Do(kit.Request{Path: path}) }
	}
	for what, c := range map[string]struct {
		ask  func() *kit.Response
		want int
	}{
		"role": {login("busy"), 2}, "mount": {login("quiet"), 4}, "exact": {read("auth/approle/role/quiet"), 3},
		"pattern": {read("auth/approle/role/quiet/policies"), 5}, "longer": {read("auth/approle/role/busy"), 6},
	} {
		if got := statuses(t, 9, c.ask); got[200] != c.want || got[429] != 9-c.want {
			t.Errorf("%s: %v, want %d", what, got, c.want)
		}
	}
}

func TestQuotasRefused(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Put("sys/quotas/rate-limit/a", body{"rate": 1, "path": "sys/x"})
	for _, b := range []body{
		{}, {"rate": 0}, {"rate": -1}, {"rate": 1e300}, {"rate": 1, "interval": -1}, {"rate": 1, "interval": "900000h"}, {"rate": 1, "block_interval": -1},
		{"rate": 1, "path": "nowhere/"}, {"rate": 1, "path": "sys/*/x"}, {"rate": 1, "path": "sys/+"}, {"rate": 1, "path": "sys/x", "role": "r"},
		{"rate": 1, "path": "sys/x"}, {"rate": 1, "path": strings.Repeat("x", 5000)}, {"rate": "much"},
	} {
		if got := put(s, s.Root, "sys/quotas/rate-limit/b", b); got.Status != http.StatusBadRequest {
			t.Errorf("%v answered %d %s", b, got.Status, got.Raw)
		}
	}
	if got := put(s, s.Root, "sys/quotas/lease-count/b", body{"max_leases": 0}); got.Status != http.StatusBadRequest {
		t.Errorf("answered %d", got.Status)
	}
	if got := put(s, s.Root, "sys/quotas/config", body{"rate_limit_exempt_paths": []string{"/"}}); got.Status != http.StatusBadRequest {
		t.Errorf("answered %d", got.Status)
	}
}

// Who has asked for too much is kept out for longer.
func TestBlockedClients(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("kv", "kv", nil)
	s.Put("sys/quotas/rate-limit/q", body{"rate": 1, "interval": 1, "block_interval": "1h", "path": "kv"})
	read := func() *kit.Response { return s.Do(kit.Request{Path: "kv/a"}) }
	read()
	if got := read(); got.Status != http.StatusTooManyRequests || got.Header.Get("Retry-After") != "3600" {
		t.Errorf("answered %d, %v", got.Status, got.Header)
	}
}

func TestLeaseCount(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	roles := approle(s, "app", "other")
	s.Put("auth/approle/role/app", body{"token_ttl": "1h"})
	s.Put("auth/approle/role/other", body{"token_type": "batch"})
	s.Put("sys/quotas/lease-count/q", body{"max_leases": 3, "path": "auth/approle"})
	login := func(role string) func() *kit.Response {
		return func() *kit.Response { return put(s, kit.NoToken, "auth/approle/login", roles[role]) }
	}
	token := login("app")().Text("auth", "client_token")
	if got := statuses(t, 5, login("app")); got[200] != 2 || got[429] != 3 {
		t.Errorf("logins %v", got)
	}
	if got := statuses(t, 5, login("other")); got[200] != 5 {
		t.Errorf("batch tokens are no leases: %v", got)
	}
	s.Login("default") // elsewhere
	if got := s.Get("sys/quotas/lease-count/q"); number(got, "data", "counter") != "3" || number(got, "data", "max_leases") != "3" {
		t.Errorf("quota %s", got.Raw)
	}
	put(s, token, "auth/token/revoke-self", nil)
	if got := statuses(t, 3, login("app")); got[200] != 1 {
		t.Errorf("after a revocation: %v", got)
	}
	s.Put("sys/quotas/lease-count/q", body{"max_leases": 4})
	if got := statuses(t, 3, login("app")); got[200] != 1 {
		t.Errorf("after a change: %v", got)
	}
	s.Put("sys/leases/revoke-prefix/auth/approle/login", nil)
	if got := s.Get("sys/quotas/lease-count/q"); number(got, "data", "counter") != "0" {
		t.Errorf("quota %s", got.Raw)
	}
	s.Delete("sys/quotas/lease-count/q")
	if got := statuses(t, 6, login("app")); got[200] != 6 {
		t.Errorf("without a quota: %v", got)
	}
}

// However many ask at once, and in whatever row each is counted, the limit holds
// and what is counted is what there is.
func TestLeaseCountOfManyAtOnce(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Put("sys/quotas/lease-count/near", body{"max_leases": 20, "path": "auth/token"})
	roles := approle(s, "app")
	s.Put("sys/quotas/lease-count/far", body{"max_leases": 100_000, "path": "auth/approle"})
	var near, far atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				if put(s, s.Root, "auth/token/create", body{"policies": "default"}).Status == http.StatusOK {
					near.Add(1)
				}
				if r := put(s, kit.NoToken, "auth/approle/login", roles["app"]); r.Status == http.StatusOK && far.Add(1)%2 == 0 {
					put(s, r.Text("auth", "client_token"), "auth/token/revoke-self", nil)
				}
			}
		})
	}
	all.Wait()
	counter := func(name string) string { return number(s.Get("sys/quotas/lease-count/"+name), "data", "counter") }
	if near.Load() != 20 || counter("near") != "20" || far.Load() != 80 || counter("far") != "40" {
		t.Errorf("%d tokens, counted as %s; %d logins, of which are left %s", near.Load(), counter("near"), far.Load(), counter("far"))
	}
	s.Delete("sys/quotas/lease-count/far")
	s.Put("sys/leases/revoke-prefix/auth/approle/login", nil)
	s.Put("sys/quotas/lease-count/far", body{"max_leases": 100_000, "path": "auth/approle"})
	if counter("far") != "0" {
		t.Errorf("a new quota begins with %s", counter("far"))
	}
}

// Expired tokens make room, once they are removed.
func TestLeaseCountAfterExpiry(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	s.Put("sys/quotas/lease-count/q", body{"max_leases": 2, "path": "auth/token"})
	create := func() *kit.Response {
		return put(s, s.Root, "auth/token/create", body{"ttl": "1h", "policies": "default"})
	}
	if got := statuses(t, 4, create); got[200] != 2 {
		t.Errorf("tokens %v", got)
	}
	clock.Advance(2 * time.Hour)
	deadline := time.Now().Add(20 * time.Second)
	for create().Status != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("expired tokens are counted for ever")
		}
	}
}

// However many ask at once, there are never more than the quota says.
func TestLeaseCountUnderContention(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	const most = 25
	s.Put("sys/quotas/lease-count/q", body{"max_leases": most, "path": "auth/token/create"})
	var made atomic.Int64
	tokens := make([][]string, 8)
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() {
			for range 10 {
				got := put(s, s.Root, "auth/token/create", body{"ttl": "1h", "policies": "default"})
				if got.Status == http.StatusOK {
					made.Add(1)
					tokens[i] = append(tokens[i], got.Text("auth", "client_token"))
				}
			}
		})
	}
	wg.Wait()
	if made.Load() != most {
		t.Errorf("%d tokens, want %d", made.Load(), most)
	}
	for _, list := range tokens {
		wg.Go(func() {
			for _, token := range list {
				put(s, token, "auth/token/revoke-self", nil)
			}
		})
	}
	wg.Wait()
	if got := s.Get("sys/quotas/lease-count/q"); number(got, "data", "counter") != "0" {
		t.Errorf("quota %s", got.Raw)
	}
}

func TestLoginsInALoop(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	roles := approle(s, "app")
	warned := map[bool]int{}
	for range 12 {
		got := put(s, kit.NoToken, "auth/approle/login", roles["app"])
		warned[slices.ContainsFunc(got.Strings("warnings"), func(w string) bool { return strings.Contains(w, "logged in") })]++
	}
	if want := map[bool]int{false: 9, true: 3}; !maps.Equal(warned, want) {
		t.Errorf("warned %v, want %v", warned, want)
	}
	clock.Advance(2 * time.Minute)
	if got := put(s, kit.NoToken, "auth/approle/login", roles["app"]); len(got.Strings("warnings")) > 0 {
		t.Errorf("warned %s", got.Raw)
	}
}
