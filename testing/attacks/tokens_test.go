package attacks_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

const makerPolicy = `
path "auth/token/create"            { capabilities = ["create", "update"] }
path "auth/token/create/*"          { capabilities = ["create", "update"] }
path "auth/token/lookup"            { capabilities = ["update"] }
path "auth/token/lookup-accessor"   { capabilities = ["update"] }
path "auth/token/revoke-accessor"   { capabilities = ["update"] }
path "auth/token/renew"             { capabilities = ["update"] }
path "sys/leases/lookup"            { capabilities = ["update"] }
path "cubbyhole/*"                  { capabilities = ["create", "read", "update", "list"] }`

// TestAttack53MoreThanTheParent: a token without sudo makes none that may do
// more, lasts longer, or stands on its own.
func TestAttack53MoreThanTheParent(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	n := serving(t, kit.At(clock))
	n.Policy("maker", makerPolicy)
	n.Policy("hidden", `path "kv/data/hidden/*" { capabilities = ["read"] }`)
	n.Put("auth/token/roles/plain", body{"disallowed_policies": "hidden"})
	n.Put("auth/token/roles/orphans", body{"orphan": true, "allowed_policies": "maker"})
	maker := n.token(body{"policies": "maker", "ttl": "1h"})
	for what, c := range map[string]struct {
		path   string
		body   body
		status int
	}{
		"another policy":          {"create", body{"policies": "hidden"}, 400},
		"one more":                {"create", body{"policies": "maker,hidden"}, 400},
		"in another case":         {"create", body{"policies": "HIDDEN"}, 400},
		"root":                    {"create", body{"policies": "root"}, 400},
		"root in another case":    {"create", body{"policies": []string{"maker", "Root "}}, 400},
		"no parent":               {"create", body{"no_parent": true}, 400},
		"an orphan":               {"create-orphan", nil, 403},
		"a period":                {"create", body{"period": "1h"}, 400},
		"an id":                   {"create", body{"id": "chosen"}, 400},
		"an alias":                {"create", body{"entity_alias": "victim"}, 400},
		"uses below nothing":      {"create", body{"num_uses": -1}, 400},
		"a TTL below nothing":     {"create", body{"ttl": "-1h"}, 400},
		"another type":            {"create", body{"type": "golden"}, 400},
		"a batch token for ever":  {"create", body{"type": "batch", "period": "1h"}, 400},
		"no such role":            {"create/none", nil, 400},
		"a role, another policy":  {"create/plain", body{"policies": "hidden"}, 400},
		"a role, root":            {"create/plain", body{"policies": "root"}, 400},
		"a role, an alias":        {"create/plain", body{"entity_alias": "victim"}, 400},
		"a role, what it has not": {"create/orphans", body{"policies": "hidden"}, 400},
		"much metadata":           {"create", body{"meta": body{"a": strings.Repeat("x", 10<<10)}}, 400},
		"a long name":             {"create", body{"display_name": strings.Repeat("x", 1<<10)}, 400},
		"many policies":           {"create", body{"policies": strings.Split(strings.Repeat("maker,", 300)+"x", ",")}, 400},
		"a role of its own":       {"roles/mine", body{"allowed_policies": "root"}, 403},
		"the wrapping policy":     {"create", body{"policies": "response-wrapping"}, 400},
	} {
		n.untouched(what, func() {
			if r := n.post(maker, "auth/token/"+c.path, c.body); r.Status != c.status || r.At("auth") != nil || len(r.Errors()) == 0 {
				t.Errorf("%s: %d %s, want %d", what, r.Status, r.Raw, c.status)
			}
		})
	}
	// It may ask for more time than it has itself: it is its end that counts.
	var children []string
	for _, b := range []body{{"ttl": "100h"}, {"ttl": "100h", "type": "batch"}, {"ttl": "100h", "explicit_max_ttl": "100h"}} {
		r := n.post(maker, "auth/token/create", b)
		child := r.Text("auth", "client_token")
		if !n.alive(child) || n.Do(kit.Request{Path: "kv/data/hidden/x", Token: child}).Status != http.StatusForbidden {
			t.Fatalf("%v: %d %s", b, r.Status, r.Raw)
		}
		children = append(children, child)
	}
	clock.Advance(time.Hour + time.Second)
	for i, child := range children {
		if n.alive(child) || n.post(child, "auth/token/renew-self", nil).Status == http.StatusOK {
			t.Errorf("child %d has outlived its parent", i)
		}
	}
}

// TestAttack54RenewedAfterRevoked: what is revoked stays so, also if it is
// renewed at the same moment.
func TestAttack54RenewedAfterRevoked(t *testing.T) {
	t.Parallel()
	n := serving(t)
	renew := func(token string) int { return n.post(token, "auth/token/renew-self", nil).Status }
	for round := range 8 {
		made := n.Put("auth/token/create", body{"policies": "default", "ttl": "1h"})
		token, accessor := made.Text("auth", "client_token"), made.Text("auth", "accessor")
		got := together(8, func(i int) int {
			switch i % 4 {
			case 0:
				return n.post(n.Root, "auth/token/revoke-accessor", body{"accessor": accessor}).Status
			case 1:
				return n.post(n.Root, "auth/token/renew-accessor", body{"accessor": accessor}).Status
			case 2:
				return n.post(n.Root, "auth/token/renew", body{"token": token}).Status
			}
			return renew(token)
		})
		only(t, "renewing and revoking", got, 200, 204, 403)
		n.untouched("renewing what is revoked", func() {
			for path, b := range map[string]body{"renew": {"token": token}, "renew-accessor": {"accessor": accessor}} {
				n.expect(path, n.post(n.Root, "auth/token/"+path, b), 403, "")
			}
			if status := renew(token); status != http.StatusForbidden {
				t.Errorf("round %d: renewing itself is answered %d", round, status)
			}
		})
		if n.alive(token) {
			t.Fatalf("round %d: the token lives", round)
		}
	}
}

// TestAttack55OneUse: a token that is good once is good once, for whatever was
// asked for.
func TestAttack55OneUse(t *testing.T) {
	t.Parallel()
	n := serving(t)
	n.Policy("reader", `path "kv/data/hidden/x" { capabilities = ["read"] }`)
	once := func(uses int) string { return n.token(body{"policies": "reader", "num_uses": uses}) }
	token := once(1)
	got := together(60, func(int) int { return n.Do(kit.Request{Path: "kv/data/hidden/x", Token: token}).Status })
	if only(t, "one use", got, 200, 403); got[200] != 1 {
		t.Errorf("one use is answered %v", got)
	}
	token = once(7)
	got = together(60, func(int) int { return n.Do(kit.Request{Path: "kv/data/hidden/x", Token: token}).Status })
	if only(t, "seven uses", got, 200, 403); got[200] != 7 {
		t.Errorf("seven uses are answered %v", got)
	}
	for what, r := range map[string]kit.Request{
		"a denial":       {Path: "sys/mounts"},
		"a mistake":      {Method: http.MethodPut, Path: "auth/token/renew-self", Body: body{"increment": "x"}},
		"what is no API": {Path: "none/x"},
	} {
		r.Token = once(1)
		n.Do(r)
		if n.alive(r.Token) {
			t.Errorf("%s costs no use", what)
		}
	}
	parent := once(3)
	n.expect("a child", n.post(parent, "auth/token/create", nil), 403, "")
}

// TestAttack56BatchTokens: a batch token, which is stored nowhere, ends with its
// parent nevertheless.
func TestAttack56BatchTokens(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	n := serving(t, kit.At(clock))
	n.Policy("maker", makerPolicy)
	batch := func(parent string) string {
		return n.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create", Token: parent, Body: body{"type": "batch", "ttl": "100h"}}).Text("auth", "client_token")
	}
	grandparent := n.token(body{"policies": "maker", "ttl": "10h"})
	parent := n.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/token/create", Token: grandparent, Body: body{"ttl": "1h"}}).Text("auth", "client_token")
	revoked := n.token(body{"policies": "maker"})
	child, cousin := batch(parent), batch(revoked)
	for _, token := range []string{child, cousin} {
		if !n.alive(token) {
			t.Fatal("a batch token is dead from the beginning")
		}
		for path, b := range map[string]body{
			"auth/token/create": nil, "auth/token/renew-self": nil, "cubbyhole/x": {"a": "b"}, "sys/wrapping/wrap": {"a": "b"},
		} {
			n.untouched(path, func() {
				if r := n.post(token, path, b); r.Status/100 == 2 && r.At("wrap_info") == nil && len(r.Raw) > 0 || r.At("auth") != nil {
					t.Errorf("%s with a batch token: %d %s", path, r.Status, r.Raw)
				}
			})
		}
	}
	n.Put("auth/token/revoke", body{"token": revoked})
	if n.alive(cousin) {
		t.Error("a batch token has outlived its parent, which was revoked")
	}
	clock.Advance(time.Hour + time.Second)
	if n.alive(child) || !n.alive(grandparent) {
		t.Error("a batch token has outlived its parent's time")
	}
	// One bit of it changed, wherever that is.
	fresh := batch(grandparent)
	for i := len("cfb."); i < len(fresh); i += 7 {
		forged := []byte(fresh)
		if forged[i] != 'A' {
			forged[i] = 'A'
		} else {
			forged[i] = 'B'
		}
		if n.alive(string(forged)) {
			t.Fatalf("a batch token with another byte %d is taken", i)
		}
	}
}

// TestAttack57OtherScopes: a name of one thing opens no other.
func TestAttack57OtherScopes(t *testing.T) {
	t.Parallel()
	n := serving(t)
	n.Policy("maker", makerPolicy)
	n.Put("sys/auth/approle", body{"type": "approle"})
	for _, role := range []string{"one", "two"} {
		n.Put("auth/approle/role/"+role, body{"role_id": role})
	}
	secret := n.Put("auth/approle/role/one/secret-id", nil)
	secretID, secretAccessor := secret.Text("data", "secret_id"), secret.Text("data", "secret_id_accessor")
	made := n.Put("auth/token/create", body{"policies": "maker"})
	victim, accessor := made.Text("auth", "client_token"), made.Text("auth", "accessor")
	n.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "cubbyhole/x", Token: victim, Body: body{"v": canary}})
	wrapped := n.Must(http.StatusOK, kit.Request{Path: "kv/data/hidden/x", Header: http.Header{"X-Vault-Wrap-Ttl": {"1h"}}})
	wrappingAccessor := wrapped.Text("wrap_info", "accessor")
	mount := n.Get("sys/auth").Text("data", "approle/", "accessor")
	eve := n.token(body{"policies": "maker"})
	for what, token := range map[string]string{
		"an accessor": accessor, "a wrapping token's accessor": wrappingAccessor, "a mount's accessor": mount,
		"a secret id": secretID, "a secret id's accessor": secretAccessor,
		"a token in capitals": strings.ToUpper(victim), "its beginning": victim[:len(victim)-1], "it and more": victim + "A", "it with its type changed": "cfb." + strings.TrimPrefix(victim, "cfs."),
	} {
		n.untouched(what, func() { n.expect(what, n.Do(kit.Request{Path: "cubbyhole/x", Token: token}), 403, "permission denied") })
	}
	for what, c := range map[string]struct {
		path   string
		body   body
		status int
	}{
		"a token for an accessor":           {"auth/token/lookup-accessor", body{"accessor": victim}, 403},
		"a mount's accessor for a token's":  {"auth/token/lookup-accessor", body{"accessor": mount}, 403},
		"a secret id's for a token's":       {"auth/token/revoke-accessor", body{"accessor": secretAccessor}, 403},
		"an accessor for a token":           {"auth/token/lookup", body{"token": accessor}, 403},
		"an accessor for a token, renewing": {"auth/token/renew", body{"token": accessor}, 403},
		"an accessor for a lease":           {"sys/leases/lookup", body{"lease_id": accessor}, 400},
		"a token for a lease":               {"sys/leases/lookup", body{"lease_id": "auth/token/create/" + victim}, 400},
		"an accessor below a path":          {"sys/leases/lookup", body{"lease_id": "auth/token/create/" + accessor + "/.."}, 400},
		"another's wrapping token's use":    {"sys/wrapping/unwrap", body{"token": accessor}, 400},
		"an accessor of a wrapping token":   {"sys/wrapping/unwrap", body{"token": wrappingAccessor}, 400},
		"a plain token to unwrap":           {"sys/wrapping/unwrap", body{"token": victim}, 400},
	} {
		n.untouched(what, func() { n.expect(what, n.post(eve, c.path, c.body), c.status, "") })
	}
	// What one token keeps for itself is nobody else's, not even root's.
	for _, path := range []string{"cubbyhole/x", "cubbyhole/" + accessor + "/x", "cubbyhole/" + victim + "/x", "cubbyhole/../cubbyhole/x", "cubbyhole/response"} {
		for _, token := range []string{eve, n.Root} {
			if r := n.Do(kit.Request{Path: path, Token: token}); r.Status/100 != 4 || strings.Contains(string(r.Raw), canary) {
				t.Errorf("%s: %d %s", path, r.Status, r.Raw)
			}
		}
	}
	// A wrapping token opens what it holds, and nothing else: trying costs the one
	// use that it has.
	for _, path := range []string{"kv/data/hidden/x", "auth/token/lookup-self", "cubbyhole/x"} {
		wrapping := n.Must(http.StatusOK, kit.Request{Path: "kv/data/hidden/x", Header: http.Header{"X-Vault-Wrap-Ttl": {"1h"}}}).Text("wrap_info", "token")
		n.expect(path, n.Do(kit.Request{Path: path, Token: wrapping}), 403, "")
		n.expect(path, n.post(n.Root, "sys/wrapping/unwrap", body{"token": wrapping}), 400, "wrapping token is not valid")
	}
	// A role's secret id is no other role's.
	for what, r := range map[string]*kit.Response{
		"logging in":                 n.post(kit.NoToken, "auth/approle/login", body{"role_id": "two", "secret_id": secretID}),
		"with the accessor":          n.post(kit.NoToken, "auth/approle/login", body{"role_id": "one", "secret_id": secretAccessor}),
		"looking it up":              n.post(n.Root, "auth/approle/role/two/secret-id/lookup", body{"secret_id": secretID}),
		"looking its accessor up":    n.post(n.Root, "auth/approle/role/two/secret-id-accessor/lookup", body{"secret_id_accessor": secretAccessor}),
		"destroying it":              n.post(n.Root, "auth/approle/role/two/secret-id/destroy", body{"secret_id": secretID}),
		"destroying by its accessor": n.post(n.Root, "auth/approle/role/two/secret-id-accessor/destroy", body{"secret_id_accessor": secretAccessor}),
	} {
		if r.Status == http.StatusOK || strings.Contains(string(r.Raw), "creation_time") {
			t.Errorf("%s as another role: %d %s", what, r.Status, r.Raw)
		}
	}
	if r := n.post(kit.NoToken, "auth/approle/login", body{"role_id": "one", "secret_id": secretID}); r.Status != http.StatusOK {
		t.Errorf("the secret id is gone: %d %s", r.Status, r.Raw)
	}
}

// TestAttack58UnwrapRace: what is wrapped is given to one of all who ask.
func TestAttack58UnwrapRace(t *testing.T) {
	t.Parallel()
	n := serving(t)
	wrap := func() string {
		return n.Must(http.StatusOK, kit.Request{Path: "kv/data/hidden/x", Header: http.Header{"X-Vault-Wrap-Ttl": {"1h"}}}).Text("wrap_info", "token")
	}
	for what, ask := range map[string]func(token string) *kit.Response{
		"in the body":      func(token string) *kit.Response { return n.post(n.Root, "sys/wrapping/unwrap", body{"token": token}) },
		"as its own token": func(token string) *kit.Response { return n.post(token, "sys/wrapping/unwrap", nil) },
		"wrapped anew":     func(token string) *kit.Response { return n.post(n.Root, "sys/wrapping/rewrap", body{"token": token}) },
	} {
		token := wrap()
		got := together(40, func(int) int { return ask(token).Status })
		if only(t, what, got, 200, 400, 403); got[200] != 1 {
			t.Errorf("%s: answered %v", what, got)
		}
		n.untouched("asking again", func() {
			if r := ask(token); r.Status/100 != 4 || strings.Contains(string(r.Raw), canary) {
				t.Errorf("%s, again: %d %s", what, r.Status, r.Raw)
			}
		})
	}
	// Mixed: of all who open it, look at it and wrap it anew, one gets it.
	token := wrap()
	got := together(40, func(i int) int {
		path := []string{"unwrap", "rewrap"}[i%2]
		return n.post(n.Root, "sys/wrapping/"+path, body{"token": token}).Status
	})
	if only(t, "opening and wrapping", got, 200, 400, 403); got[200] != 1 {
		t.Errorf("opening and wrapping: answered %v", got)
	}
}

// TestAttack59Leases: leases are not to be guessed, nor all to be ended by a
// prefix that is none. Tokens are the leases that there are.
func TestAttack59Leases(t *testing.T) {
	t.Parallel()
	n := serving(t)
	n.Put("sys/auth/approle", body{"type": "approle"})
	n.Put("auth/approle/role/app", body{"role_id": "app", "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8,::1/128"})
	app := n.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/approle/login", Token: kit.NoToken, Body: body{"role_id": "app"}}).Text("auth", "client_token")
	n.Policy("leases", `path "sys/leases/*" { capabilities = ["create", "read", "update", "list"] }`)
	token, other := n.token(body{"policies": "leases"}), n.token(body{"policies": "default"})
	alive := func(what string) {
		t.Helper()
		if !n.alive(app) || !n.alive(token) || !n.alive(other) || !n.alive(n.Root) {
			t.Fatalf("%s has ended a token", what)
		}
	}
	guesses := []string{
		"", "/", "//", ".", "..", "auth", "auth/", "auth/token/create", "auth/token/create/", "auth/token/create/x", "auth/token/create/" + strings.Repeat("a", 24),
		"auth/token/create/" + strings.Repeat("0", 64), "*", "+", "auth/token/create/*", "\x00", "auth/token/create/\n", strings.Repeat("a", 5000), "a/../auth/token/create", "\xff",
	}
	for _, id := range guesses {
		for _, path := range []string{"lookup", "renew", "revoke"} {
			n.untouched(path+" "+id, func() {
				r := n.post(n.Root, "sys/leases/"+path, body{"lease_id": id})
				if r.Status/100 == 5 || r.Status == http.StatusOK {
					t.Errorf("%s of %.40q: %d %s", path, id, r.Status, r.Raw)
				}
			})
		}
		alive("a guess at " + id)
	}
	for _, path := range []string{"revoke-prefix", "revoke-force"} {
		for _, prefix := range []string{"", "/", "//", "%2f", ".", "..", "./", "auth/../auth", "%00", "*", "auth/tok", "auth/token/creat", "aut", "auth/approle/log", "+/token", "%2e%2e"} {
			n.untouched(path+" "+prefix, func() {
				if r := n.post(n.Root, "sys/leases/"+path+"/"+prefix, nil); r.Status/100 == 5 {
					t.Errorf("%s %q: %d %s", path, prefix, r.Status, r.Raw)
				}
			})
			alive(path + " of " + prefix)
		}
		n.untouched(path+" without sudo", func() {
			n.expect(path, n.post(token, "sys/leases/"+path+"/auth/approle", nil), 403, "permission denied")
		})
	}
	for _, path := range []string{"sys/leases/lookup", "sys/leases/lookup/auth/token"} {
		n.untouched("listing "+path, func() {
			n.expect(path, n.Do(kit.Request{Method: "LIST", Path: path, Token: token}), 403, "permission denied")
		})
	}
	n.Put("sys/leases/revoke-prefix/auth/approle/login", nil)
	if n.alive(app) || !n.alive(token) || !n.alive(other) {
		t.Error("a prefix ends other tokens than those below it")
	}
}

// TestAttack37NullLeaseID: null is no id, and stands for no lease and not for
// all of them.
func TestAttack37NullLeaseID(t *testing.T) {
	t.Parallel()
	n := serving(t)
	token := n.token(body{"policies": "default"})
	for _, path := range []string{"lookup", "renew", "revoke"} {
		for _, b := range []body{{"lease_id": nil}, {"lease_id": ""}, {}, {"lease_id": []string{}}, {"lease_id": body{}}} {
			n.untouched(path, func() { n.expect(fmt.Sprint(path, b), n.post(n.Root, "sys/leases/"+path, b), 400, "lease_id") })
		}
	}
	if !n.alive(token) {
		t.Error("a token was revoked")
	}
}
