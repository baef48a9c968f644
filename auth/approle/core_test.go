package approle_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

func started(t *testing.T, options ...kit.Option) *kit.Server {
	t.Helper()
	s := kit.New(t, options...)
	s.Put("sys/auth/approle", body{"type": "approle"})
	s.Put("auth/approle/role/app", body{"role_id": "app-id", "token_ttl": "1h", "token_policies": "app"})
	return s
}

func login(s *kit.Server, secretID string) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPost, Path: "auth/approle/login", Token: kit.NoToken, Body: body{"role_id": "app-id", "secret_id": secretID}})
}

// TestRacedUse: of all who race for the one use of a secret id, one gets it.
func TestRacedUse(t *testing.T) {
	t.Parallel()
	s := started(t)
	for range 4 {
		secretID := s.Put("auth/approle/role/app/secret-id", body{"num_uses": 1}).Text("data", "secret_id")
		var got atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				switch r := login(s, secretID); r.Status {
				case http.StatusOK:
					got.Add(1)
				case http.StatusBadRequest, http.StatusForbidden:
				default:
					t.Errorf("answered %d %s", r.Status, r.Raw)
				}
			})
		}
		wg.Wait()
		if n := got.Load(); n != 1 {
			t.Errorf("%d logins with one use", n)
		}
		s.Put("auth/approle/role/app", body{"role_id": "other"}) // the losers have locked it
		s.Put("auth/approle/role/app", body{"role_id": "app-id"})
	}
}

// TestFailedLoginKeepsTheUse: a login that ends without a token takes no use.
func TestFailedLoginKeepsTheUse(t *testing.T) {
	t.Parallel()
	s := started(t)
	secretID := s.Put("auth/approle/role/app/secret-id", body{"num_uses": 1}).Text("data", "secret_id")
	entity := login(s, s.Put("auth/approle/role/app/secret-id", nil).Text("data", "secret_id")).Text("auth", "entity_id")
	s.Put("identity/entity/id/"+entity, body{"disabled": true})
	if r := login(s, secretID); r.Status/100 != 4 {
		t.Errorf("answered %d %s", r.Status, r.Raw)
	}
	s.Put("identity/entity/id/"+entity, body{"disabled": false})
	if r := login(s, secretID); r.Status != http.StatusOK {
		t.Errorf("answered %d %s", r.Status, r.Raw)
	}
}

// TestWrapped takes a secret id to its machine as operators do, and ends the
// token by cluster time.
func TestWrapped(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := started(t, kit.At(clock))
	wrapped := s.Must(http.StatusOK, kit.Request{
		Method: http.MethodPost, Path: "auth/approle/role/app/secret-id", Body: body{"metadata": `{"host":"a1"}`, "ttl": "30m"},
		Header: http.Header{"X-Vault-Wrap-Ttl": {"60"}},
	})
	unwrap := kit.Request{Method: http.MethodPost, Path: "sys/wrapping/unwrap", Token: wrapped.Text("wrap_info", "token")}
	secretID := s.Must(http.StatusOK, unwrap).Text("data", "secret_id")
	s.Must(http.StatusForbidden, unwrap)
	r := login(s, secretID)
	if r.Status != http.StatusOK || r.Text("auth", "metadata", "host") != "a1" || r.Text("auth", "metadata", "role_name") != "app" || r.Text("auth", "entity_id") == "" {
		t.Fatalf("answered %d %s", r.Status, r.Raw)
	}
	token := r.Text("auth", "client_token")
	s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: token})
	entity := s.Get("identity/entity/id/" + r.Text("auth", "entity_id"))
	aliases, _ := entity.At("data", "aliases").([]any)
	if len(aliases) != 1 || aliases[0].(map[string]any)["name"] != "app-id" {
		t.Errorf("the entity is %s", entity.Raw)
	}
	clock.Advance(31 * time.Minute)
	if r := login(s, secretID); r.Status != http.StatusBadRequest {
		t.Errorf("after its time answered %d %s", r.Status, r.Raw)
	}
	clock.Advance(time.Hour)
	s.Must(http.StatusForbidden, kit.Request{Path: "auth/token/lookup-self", Token: token})
}

// FuzzLogin: whatever a stranger sends is answered, and never with a token.
func FuzzLogin(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"role_id":"app-id"}`, `{"role_id":"app-id","secret_id":"x"}`, `{"role_id":["a"],"secret_id":{}}`, `{"role_id":"a/../b","secret_id":"\u0000"}`, `[`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		h := mount(t)
		must(t, h, engines.Update, "role/app", `{"role_id":"app-id"}`)
		if resp, err := h.Do(engines.Update, "login", body, nil); err == nil {
			t.Errorf("%q is answered %+v", body, resp)
		} else if engines.KindOf(err) == engines.KindInternal {
			t.Errorf("%q: %v", body, err)
		}
	})
}
