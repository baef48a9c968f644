package issued_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// people lets bob and eve log in at a server with the engine, and returns how
// one gets a token, and that one's entity.
func people(s *kit.Server) func(name string) (token, entity string) {
	s.Policy("user", `path "fake/creds/*" { capabilities = ["read"] }
path "sys/leases/revoke-by" { capabilities = ["update"] }`)
	s.Put("sys/auth/userpass", body{"type": "userpass"})
	for _, name := range []string{"bob", "eve"} {
		s.Put("auth/userpass/users/"+name, body{"password": "long enough a word", "token_policies": "user", "token_ttl": "1h"})
	}
	return func(name string) (string, string) {
		got := s.Put("auth/userpass/login/"+name, body{"password": "long enough a word"})
		return got.Text("auth", "client_token"), got.Text("auth", "entity_id")
	}
}

func TestLeasesOfAnEntity(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	login := people(s)
	ask := func(token string) *kit.Response {
		return s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a?ttl=3h&max_ttl=4h&owner=entity", Token: token})
	}
	bob, entity := login("bob")
	eve, other := login("eve")
	lease := ask(bob)
	hers := ask(eve).Text("data", "username")
	his := lease.Text("data", "username")
	if lease.At("lease_duration") == nil || lease.Text("lease_id") == "" {
		t.Fatalf("no lease: %s", lease.Raw)
	}
	refused := s.Must(http.StatusBadRequest, kit.Request{Path: "fake/creds/a?owner=entity"}) // the root token has none
	if len(refused.Errors()) != 1 {
		t.Errorf("refused with %s", refused.Raw)
	}
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "auth/token/revoke-self", Token: bob})
	clock.Advance(2 * time.Hour) // eve's token ends
	s.Put("sys/leases/renew", body{"lease_id": lease.Text("lease_id")})
	settles(t, p, his, hers)
	s.Put("identity/entity/id/"+entity, body{"disabled": true})
	s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/renew", Body: body{"lease_id": lease.Text("lease_id")}})
	s.Put("identity/entity/id/"+entity, body{"disabled": false})
	s.Put("identity/entity/merge", body{"to_entity_id": entity, "from_entity_ids": other, "conflicting_alias_ids_to_keep": s.Get("identity/entity/id/"+entity).At("data", "aliases").([]any)[0].(map[string]any)["id"]})
	eventually(t, "what eve had is bob's", func() bool {
		return len(s.Get("sys/leases/search?entity_id="+entity).At("data", "leases").([]any)) == 2
	})
	settles(t, p, his, hers)
	s.Delete("identity/entity/id/" + entity)
	settles(t, p)
}

func TestLeasesOfAnEntityEnd(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	bob, _ := people(s)("bob")
	s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a?ttl=3h&max_ttl=4h&owner=entity", Token: bob})
	clock.Advance(3*time.Hour + time.Second)
	settles(t, p)
}

// TestOwnLeases has callers without sudo see, and revoke, what is theirs only.
func TestOwnLeases(t *testing.T) {
	t.Parallel()
	p := newPlace()
	s := start(t, p)
	login := people(s)
	bob, _ := login("bob")
	again, _ := login("bob")
	eve, _ := login("eve")
	ask := func(token, owner string) (id, user string) {
		got := s.Must(http.StatusOK, kit.Request{Path: "fake/creds/a?owner=" + owner, Token: token})
		return got.Text("lease_id"), got.Text("data", "username")
	}
	id, _ := ask(bob, "token")
	_, shared := ask(bob, "entity")
	hers, kept := ask(eve, "token")
	see := func(token string) int {
		return len(s.Must(http.StatusOK, kit.Request{Path: "sys/leases/search", Token: token}).At("data", "leases").([]any))
	}
	if got := []int{see(bob), see(again), see(eve), see(s.Root)}; !slices.Equal(got, []int{2, 1, 1, 3}) {
		t.Errorf("they see %v leases", got)
	}
	page := s.Must(http.StatusOK, kit.Request{Path: "sys/leases/search?limit=1", Token: bob})
	rest := s.Must(http.StatusOK, kit.Request{Path: "sys/leases/search?limit=1&after=" + page.Text("data", "next"), Token: bob})
	if rest.Text("data", "next") != "" || string(page.Raw) == string(rest.Raw) {
		t.Errorf("pages %s, %s", page.Raw, rest.Raw)
	}
	if raw := string(s.Must(http.StatusOK, kit.Request{Path: "sys/leases/search?role=a", Token: eve}).Raw); strings.Contains(raw, id) {
		t.Errorf("eve sees %s", raw)
	}
	revoke := func(token string) {
		s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke-by", Token: token, Body: body{"role": "a"}})
	}
	s.Must(http.StatusForbidden, kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Token: bob, Body: body{"lease_id": hers}})
	s.Must(http.StatusForbidden, kit.Request{Path: "sys/leases/held", Token: bob})
	s.Must(http.StatusForbidden, kit.Request{Method: http.MethodPut, Path: "sys/leases/release", Token: bob})
	batch := s.Put("auth/token/create", body{"policies": "user", "type": "batch", "ttl": "1h"}).Text("auth", "client_token")
	if see(batch) != 0 {
		t.Error("a batch token sees others' leases")
	}
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "auth/token/revoke-self", Token: bob})
	settles(t, p, shared, kept)
	revoke(again)
	settles(t, p, kept)
}
