package tokens_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestTextsThatClientsKnow(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	token := child(t, s, s.Root, body{"policies": "a"})
	for _, c := range []struct {
		request kit.Request
		status  int
		want    string
	}{
		{kit.Request{Path: "auth/token/lookup-self", Token: kit.NoToken}, 400, "missing client token"},
		{kit.Request{Path: "auth/token/lookup-self", Token: "none"}, 403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"},
		{kit.Request{Path: "auth/token/lookup-self", Token: "cfb.AAAA"}, 403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"},
		{kit.Request{Path: "auth/token/lookup", Method: http.MethodPost, Body: body{"token": "none"}}, 403, "bad token"},
		{kit.Request{Path: "auth/token/renew", Method: http.MethodPost, Body: body{"token": "none"}}, 403, "bad token"},
		{kit.Request{Path: "auth/token/create", Method: http.MethodPost, Token: token}, 403, errorText("permission denied")},
		{kit.Request{Path: "auth/token/revoke-orphan", Method: http.MethodPost, Body: body{"token": "none"}}, 400, "token to revoke not found"},
		{kit.Request{Path: "auth/token/renew-self", Method: http.MethodPost}, 400, "lease is not renewable"},
	} {
		r := s.Do(c.request)
		if got := r.Errors(); r.Status != c.status || len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %d %q, want %d %q", c.request.Path, r.Status, got, c.status, c.want)
		}
	}
	for _, path := range []string{"lookup-accessor", "renew-accessor", "revoke-accessor"} {
		refused(t, put(s, s.Root, "auth/token/"+path, body{"accessor": "none"}), 403, "invalid accessor")
		refused(t, put(s, s.Root, "auth/token/"+path, nil), 400, "missing accessor")
	}
	s.Must(http.StatusNoContent, kit.Request{Path: "auth/token/revoke", Method: http.MethodPost, Body: body{"token": "none"}})
}

func TestAccessorsReachTokensAndHideThem(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := create(t, s, s.Root, body{"policies": "a", "ttl": "1h"})
	accessor, id := r.Text("auth", "accessor"), r.Text("auth", "client_token")
	l := s.Put("auth/token/lookup-accessor", body{"accessor": accessor})
	if l.At("data", "id") != "" || l.Text("data", "accessor") != accessor {
		t.Errorf("%s", l.Raw)
	}
	renewed := s.Put("auth/token/renew-accessor", body{"accessor": accessor, "increment": "30m"})
	if number(t, renewed.At("auth", "lease_duration")) != 1800 || renewed.At("auth", "client_token") != "" {
		t.Errorf("%s", renewed.Raw)
	}
	found := false
	for _, a := range s.List("auth/token/accessors").Strings("data", "keys") {
		found = found || a == accessor
	}
	if !found {
		t.Error("the accessor is not listed")
	}
	s.Put("auth/token/revoke-accessor", body{"accessor": accessor})
	if alive(s, id) {
		t.Error("a token survived its accessor's revocation")
	}
	refused(t, put(s, s.Root, "auth/token/lookup-accessor", body{"accessor": accessor}), 403, "invalid accessor")
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := newServer(t, kit.At(clock), kit.Limits(time.Hour, 10*time.Hour))
	ttl := func(token string, b body) int64 {
		t.Helper()
		r := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/renew-self", Token: token, Body: b})
		return number(t, r.At("auth", "lease_duration"))
	}
	plain := child(t, s, s.Root, body{"policies": "a", "ttl": "2h"})
	periodic := child(t, s, s.Root, body{"policies": "a", "period": "2h"})
	ending := child(t, s, s.Root, body{"policies": "a", "ttl": "2h", "explicit_max_ttl": "3h"})
	fixed := child(t, s, s.Root, body{"policies": "a", "ttl": "2h", "renewable": false})
	clock.Advance(90 * time.Minute)
	if got := ttl(plain, nil); got != 7200 {
		t.Errorf("renewed for %d", got)
	}
	if got := ttl(periodic, body{"increment": "9h"}); got != 7200 {
		t.Errorf("periodic: renewed for %d", got)
	}
	if got := ttl(ending, body{"increment": "9h"}); got != 5400 {
		t.Errorf("explicit maximum: renewed for %d", got)
	}
	refused(t, put(s, fixed, "auth/token/renew-self", nil), 400, "lease is not renewable")
	clock.Advance(80 * time.Minute)
	if got := ttl(plain, body{"increment": "9h"}); got != 10*3600-170*60 {
		t.Errorf("up to the limit: renewed for %d", got)
	}
	if alive(s, fixed) || !alive(s, ending) {
		t.Error("the wrong token ended")
	}
	clock.Advance(20 * time.Minute)
	if alive(s, ending) {
		t.Error("a token lives beyond its explicit maximum")
	}
	refused(t, put(s, ending, "auth/token/renew-self", nil), 403, "invalid token")
	ttl(periodic, nil)
	for range 20 {
		clock.Advance(110 * time.Minute)
		ttl(periodic, nil)
	}
}

func TestRevocationTakesTheTreeAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	parent := child(t, s, s.Root, body{"policies": []string{"maker", "a"}})
	kid := child(t, s, parent, nil)
	grandkid := child(t, s, kid, nil)
	batch := child(t, s, kid, body{"type": "batch", "policies": "a"})
	orphan := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create-orphan", Token: kid}).Text("auth", "client_token")
	accessor := s.Put("auth/token/lookup", body{"token": grandkid}).Text("data", "accessor")
	if !alive(s, batch) || !alive(s, grandkid) {
		t.Fatal("made dead")
	}
	s.Put("auth/token/revoke", body{"token": parent})
	for name, token := range map[string]string{"parent": parent, "kid": kid, "grandkid": grandkid, "batch": batch} {
		if alive(s, token) {
			t.Errorf("%s outlived its ancestor", name)
		}
	}
	refused(t, put(s, s.Root, "auth/token/lookup-accessor", body{"accessor": accessor}), 403, "invalid accessor")
	if !alive(s, orphan) {
		t.Error("an orphan died with its maker")
	}
}

func TestRevokeOrphanSparesChildren(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	parent := child(t, s, s.Root, body{"policies": []string{"maker", "a"}})
	kid := child(t, s, parent, nil)
	grandkid := child(t, s, kid, nil)
	batch := child(t, s, parent, body{"type": "batch", "policies": "a"})
	refused(t, put(s, parent, "auth/token/revoke-orphan", body{"token": parent}), 403, "permission denied")
	s.Put("auth/token/revoke-orphan", body{"token": parent})
	if alive(s, parent) || alive(s, batch) || !alive(s, kid) || !alive(s, grandkid) {
		t.Error("the wrong tokens died")
	}
	if s.Put("auth/token/lookup", body{"token": kid}).At("data", "orphan") != true {
		t.Error("the child is no orphan")
	}
	s.Put("auth/token/revoke", body{"token": kid})
	if alive(s, grandkid) {
		t.Error("an orphan's child outlived it")
	}
}

func TestRevokeSelf(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	token := child(t, s, s.Root, body{"policies": "a"})
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPost, Path: "auth/token/revoke-self", Token: token})
	if alive(s, token) {
		t.Error("still alive")
	}
	batch := child(t, s, s.Root, body{"policies": "a", "type": "batch"})
	refused(t, put(s, batch, "auth/token/revoke-self", nil), 400, "batch tokens cannot be revoked")
	refused(t, put(s, batch, "auth/token/renew-self", nil), 400, "batch tokens cannot be renewed")
	refused(t, put(s, batch, "cubbyhole/x", body{"a": "b"}), 403, "permission denied")
}

func TestExpiryIsByClusterTime(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := newServer(t, kit.At(clock))
	parent := child(t, s, s.Root, body{"policies": []string{"maker", "a"}, "ttl": "1h"})
	kid := child(t, s, parent, body{"ttl": "9h"})
	batch := child(t, s, s.Root, body{"policies": "a", "type": "batch", "ttl": "1h"})
	before := rows(t, s, 't')
	clock.Advance(time.Hour - time.Second)
	for _, token := range []string{parent, kid, batch} {
		if !alive(s, token) {
			t.Error("ended early")
		}
	}
	clock.Advance(time.Second)
	for _, token := range []string{parent, kid, batch} {
		if alive(s, token) {
			t.Error("alive after its time, or its parent's")
		}
	}
	eventually(t, func() bool { return rows(t, s, 't') == before-2 && rows(t, s, 'z') == 0 })
}

// eventually waits until what the background does has come true.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("it never came true")
		case <-tick.C:
		}
	}
}

func TestUsesAreCounted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Put("sys/policies/acl/self", body{"policy": `path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "cubbyhole/*" { capabilities = ["create", "read", "update"] }`})
	token := child(t, s, s.Root, body{"policies": "self", "num_uses": 6})
	left := func() int64 {
		t.Helper()
		return number(t, s.Put("auth/token/lookup", body{"token": token}).At("data", "num_uses"))
	}
	r := s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: token})
	if got := number(t, r.At("data", "num_uses")); got != 5 {
		t.Errorf("shows %d uses, want 5", got)
	}
	s.Must(http.StatusForbidden, kit.Request{Path: "sys/mounts", Token: token})
	s.Must(http.StatusNotFound, kit.Request{Path: "cubbyhole/none", Token: token})
	if got := left(); got != 3 {
		t.Errorf("%d uses left after two failures, want 3", got)
	}
	s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/renew-self", Token: token})
	if got := left(); got != 2 {
		t.Errorf("%d uses left after a renewal, want 2", got)
	}
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "cubbyhole/x", Token: token, Body: body{"a": "b"}})
	if got := s.Must(http.StatusOK, kit.Request{Path: "cubbyhole/x", Token: token}).Text("data", "a"); got != "b" {
		t.Errorf("the last use read %q", got)
	}
	refused(t, s.Do(kit.Request{Path: "cubbyhole/x", Token: token}), 403, "invalid token")
}

func TestAFailedLastUseChangesNothingElse(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	token := child(t, s, s.Root, body{"policies": "boss", "num_uses": 1})
	refused(t, put(s, token, "auth/token/create", nil), 400, "restricted use")
	refused(t, put(s, token, "auth/token/create", nil), 403, "invalid token")
}

func TestConcurrentUsesNeverExceed(t *testing.T) {
	t.Parallel()
	const uses, tries = 10, 50
	s := newServer(t)
	token := child(t, s, s.Root, body{"policies": "a", "num_uses": uses})
	var good atomic.Int64
	var wg sync.WaitGroup
	for range tries {
		wg.Go(func() {
			r := s.Do(kit.Request{Path: "auth/token/lookup-self", Token: token})
			switch r.Status {
			case http.StatusOK:
				good.Add(1)
			case http.StatusForbidden:
			default:
				t.Errorf("answered %d: %s", r.Status, r.Raw)
			}
		})
	}
	wg.Wait()
	if got := good.Load(); got != uses {
		t.Errorf("%d uses of a token for %d", got, uses)
	}
}
