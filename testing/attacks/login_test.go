package attacks_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/bcrypt"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// cheap is a hash that takes little time, for tests that try often.
func cheap(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// people is a node on which users log in with the password "right".
func people(t testing.TB, clock *kit.Clock, names ...string) *node {
	t.Helper()
	n := serving(t, kit.At(clock))
	n.Put("sys/auth/userpass", body{"type": "userpass"})
	for _, name := range names {
		n.Put("auth/userpass/users/"+url.PathEscape(name), body{"password_hash": cheap(t, "right")})
	}
	return n
}

func (n *node) login(name, password string) *kit.Response {
	n.t.Helper()
	return n.post(kit.NoToken, "auth/userpass/login/"+url.PathEscape(name), body{"password": password})
}

// TestAttack40Enumeration: who guesses learns nothing of which names there are,
// neither from an answer nor from a lock. The time is compared by the benchmark.
func TestAttack40Enumeration(t *testing.T) {
	t.Parallel()
	n := people(t, kit.NewClock(), "known")
	n.Put("sys/auth/approle", body{"type": "approle"})
	n.Put("auth/approle/role/app", body{"role_id": "known"})
	for way, try := range map[string]func(name string) *kit.Response{
		"userpass": func(name string) *kit.Response { return n.login(name, "wrong") },
		"approle": func(name string) *kit.Response {
			return n.post(kit.NoToken, "auth/approle/login", body{"role_id": name, "secret_id": "wrong"})
		},
	} {
		// Until after both are locked, and on a name that cannot be one.
		for i := range 7 {
			index := n.Index()
			known := try("known")
			first := n.Index()
			unknown := try("unknown")
			if known.Status != unknown.Status || string(known.Raw) != string(unknown.Raw) || known.Status/100 != 4 {
				t.Errorf("%s, try %d: %d %s and %d %s", way, i, known.Status, known.Raw, unknown.Status, unknown.Raw)
			}
			for name := range known.Header {
				if name != "Date" && name != "X-Coffer-Index" && strings.Join(known.Header[name], ",") != strings.Join(unknown.Header[name], ",") {
					t.Errorf("%s, try %d: %s is %q and %q", way, i, name, known.Header[name], unknown.Header[name])
				}
			}
			if a, b := first-index, n.Index()-first; a != b {
				t.Errorf("%s, try %d: %d entries of the log, and %d", way, i, a, b)
			}
		}
	}
	nobody := n.Login("default")
	n.untouched("asking who is locked", func() {
		for _, path := range []string{"sys/locked-users", "auth/userpass/users/known", "auth/userpass/users/unknown"} {
			n.expect(path, n.Do(kit.Request{Path: path, Token: kit.NoToken}), 400, "missing client token")
			n.expect(path, n.Do(kit.Request{Path: path, Token: nobody}), 403, "permission denied")
		}
	})
}

// TestAttack41Spellings: failures count on the user whom a name leads to,
// however it is spelled.
func TestAttack41Spellings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spelling string
		same     bool
	}{
		{"KAY", true}, {" kay", true}, {"kay ", true}, {"\u212aay", true}, // the sign of kelvin is a capital k
		{"\uff4b\uff41\uff59", false}, {"kay\u200b", false}, {"k\u0430y", false}, {"kay\u0301", false}, {"ka", false},
	} {
		n := people(t, kit.NewClock(), "kay")
		for range 5 {
			n.expect(c.spelling, n.login(c.spelling, "wrong"), 400, "invalid username or password")
		}
		if c.same {
			for _, name := range []string{"kay", "Kay", c.spelling, strings.ToUpper(c.spelling)} {
				n.expect(name, n.login(name, "right"), 403, "permission denied")
			}
			continue
		}
		n.expect(c.spelling, n.login(c.spelling, "right"), 403, "permission denied")
		if r := n.login("kay", "right"); r.Status != http.StatusOK {
			t.Errorf("%q has locked another: %d %s", c.spelling, r.Status, r.Raw)
		}
	}
}

// TestAttack41ControlCharacters: a name that cannot be anybody's is refused
// before it is counted.
func TestAttack41ControlCharacters(t *testing.T) {
	t.Parallel()
	n := people(t, kit.NewClock(), "kay")
	for _, name := range []string{"kay%00", "%0akay", "kay%7f", "kay%ff", "kay%2f", "..", strings.Repeat("k", 4000)} {
		n.untouched(name, func() {
			r := n.post(kit.NoToken, "auth/userpass/login/"+name, body{"password": "right"})
			n.expect(name, r, 400, "")
		})
	}
}

// TestAttack42LockingVictims: a lock keeps nobody out for long, nor anybody
// else, nor a victim who is in; and nobody can make it last.
func TestAttack42LockingVictims(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	n := people(t, clock, "victim", "other")
	n.Put("sys/auth/second", body{"type": "userpass"})
	n.Put("auth/second/users/victim", body{"password_hash": cheap(t, "right")})
	in := n.login("victim", "right").Text("auth", "client_token")
	lock := func() {
		for range 5 {
			n.login("victim", "wrong")
		}
		n.expect("the victim", n.login("victim", "right"), 403, "permission denied")
	}
	lock()
	n.untouched("guessing on", func() {
		for range 20 {
			n.expect("a guess", n.login("victim", "wrong"), 403, "permission denied")
		}
	})
	if r := n.login("other", "right"); r.Status != http.StatusOK {
		t.Errorf("another is locked too: %s", r.Raw)
	}
	if r := n.post(kit.NoToken, "auth/second/login/victim", body{"password": "right"}); r.Status != http.StatusOK {
		t.Errorf("the same name elsewhere is locked: %s", r.Raw)
	}
	if !n.alive(in) || n.post(in, "auth/token/renew-self", nil).Status != http.StatusOK {
		t.Error("a lock ends the token that the victim has")
	}
	clock.Advance(15*time.Minute + time.Second)
	if r := n.login("victim", "right"); r.Status != http.StatusOK {
		t.Errorf("guesses have made the lock last: %s", r.Raw)
	}
	lock()
	accessor := n.Get("sys/auth").Text("data", "userpass/", "accessor")
	unlock := "sys/locked-users/" + accessor + "/unlock/Victim"
	n.untouched("who may not unlock", func() { n.expect("unlocking", n.post(in, unlock, nil), 403, "permission denied") })
	n.Put(unlock, nil)
	if r := n.login("victim", "right"); r.Status != http.StatusOK {
		t.Errorf("an operator cannot unlock: %s", r.Raw)
	}
}

// TestAttack43GuessesAtOnce: as many guesses are looked at as one after another
// would be. The log puts those of several nodes in one order as it does those of
// one.
func TestAttack43GuessesAtOnce(t *testing.T) {
	t.Parallel()
	n := people(t, kit.NewClock(), "kay")
	got := together(48, func(int) int { return n.login("kay", "wrong").Status })
	only(t, "guesses", got, 400, 403)
	if got[400] > 5 {
		t.Errorf("%d guesses were looked at", got[400])
	}
	n.expect("the right one", n.login("kay", "right"), 403, "permission denied")
	strangers := together(16, func(int) int { return n.login("nobody", "wrong").Status })
	if only(t, "guesses at a stranger", strangers, 400, 403); strangers[400] > 5 {
		t.Errorf("%d guesses at a stranger were looked at", strangers[400])
	}
}

// TestAttack44Bcrypt: what bcrypt would not look at is refused, not cut off.
func TestAttack44Bcrypt(t *testing.T) {
	t.Parallel()
	n := people(t, kit.NewClock())
	long := strings.Repeat("a", 72)
	n.Put("auth/userpass/users/long", body{"password": long})
	for path, b := range map[string]body{
		"users/new":           {"password": long + "b"},
		"users/letters":       {"password": strings.Repeat("é", 37)},
		"users/long":          {"password": long + "b"},
		"users/long/password": {"password": long + "b"},
		"users/zero":          {"password": "a\x00b"},
		"users/costly":        {"password_hash": "$2a$31$" + strings.Repeat("x", 53)},
		"users/cheap":         {"password_hash": "$2a$03$" + strings.Repeat("x", 53)},
		"users/short":         {"password_hash": "$2a$10$x"},
		"users/other":         {"password_hash": "$6$rounds=5000$x$x"},
	} {
		n.untouched(path, func() { n.expect(path, n.post(n.Root, "auth/userpass/"+path, b), 400, "password") })
	}
	for _, wrong := range []string{long + "b", long + "\x00", long[:71], strings.Repeat("a", 1<<20)} {
		n.expect("a login with what begins like the password", n.login("long", wrong), 400, "invalid username or password")
	}
	if r := n.login("long", long); r.Status != http.StatusOK {
		t.Errorf("the password itself: %d %s", r.Status, r.Raw)
	}
}

// factor is a user whose logins need a second factor.
type factor struct {
	*node
	clock  *kit.Clock
	method string
	secret string
}

func secondFactor(t *testing.T) *factor {
	t.Helper()
	clock := kit.NewClock()
	f := &factor{node: people(t, clock, "kay"), clock: clock}
	entity := f.login("kay", "right").Text("auth", "entity_id")
	f.method = f.Put("identity/mfa/method/totp", body{"issuer": "Coffer", "method_name": "phone"}).Text("data", "method_id")
	shown := f.Put("identity/mfa/method/totp/admin-generate", body{"method_id": f.method, "entity_id": entity}).Text("data", "url")
	key, err := otp.NewKeyFromURL(shown)
	if err != nil {
		t.Fatal(err)
	}
	f.secret = key.Secret()
	f.Put("identity/mfa/login-enforcement/all", body{"mfa_method_ids": f.method, "auth_method_types": "userpass"})
	return f
}

// code is the passcode some steps from now.
func (f *factor) code(steps int) string {
	f.t.Helper()
	code, err := totp.GenerateCode(f.secret, f.clock.Wall().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		f.t.Fatal(err)
	}
	return code
}

// waits begins a login.
func (f *factor) waits() string {
	f.t.Helper()
	r := f.login("kay", "right")
	id := r.Text("auth", "mfa_requirement", "mfa_request_id")
	if r.Text("auth", "client_token") != "" || id == "" {
		f.t.Fatalf("the password alone: %d %s", r.Status, r.Raw)
	}
	return id
}

func (f *factor) validate(id, code string) *kit.Response {
	f.t.Helper()
	return f.post(kit.NoToken, "sys/mfa/validate", body{"mfa_request_id": id, "mfa_payload": body{f.method: []string{code}}})
}

// TestAttack45Passcodes: a passcode is good once, in one form, for the steps
// around now.
func TestAttack45Passcodes(t *testing.T) {
	t.Parallel()
	f := secondFactor(t)
	refused := func(what, id, code string) {
		t.Helper()
		if r := f.validate(id, code); r.Status/100 != 4 || strings.Contains(string(r.Raw), "client_token") {
			t.Errorf("%s: %d %s", what, r.Status, r.Raw)
		}
	}
	code := f.code(0)
	if r := f.validate(f.waits(), code); r.Status != http.StatusOK || r.Text("auth", "client_token") == "" {
		t.Fatalf("a good passcode: %d %s", r.Status, r.Raw)
	}
	wide := strings.Map(func(r rune) rune { return r - '0' + '\uff10' }, code)
	for _, again := range []string{code, " " + code, code + " ", code[:3] + " " + code[3:], wide, code + "\x00", "0" + code, code + "\n", "+" + code} {
		refused(fmt.Sprintf("again, as %q", again), f.waits(), again)
	}
	refused("of the step before one that was used", f.waits(), f.code(-1))
	f.clock.Advance(10 * time.Minute)
	refused("of long ago", f.waits(), code)
	refused("two steps old", f.waits(), f.code(-2))
	refused("two steps ahead", f.waits(), f.code(2))
	f.clock.Advance(10 * time.Minute)
	// Raced: several logins of the same user, one passcode.
	ids := make([]string, 12)
	for i := range ids {
		ids[i] = f.waits()
	}
	code = f.code(0)
	got := together(len(ids), func(i int) int { return f.validate(ids[i], code).Status })
	if only(t, "one passcode", got, 200, 400, 403); got[200] != 1 {
		t.Errorf("one passcode is answered %v", got)
	}
	f.clock.Advance(10 * time.Minute)
	// And one login with one passcode.
	id := f.waits()
	code = f.code(0)
	got = together(12, func(int) int { return f.validate(id, code).Status })
	if only(t, "one login", got, 200, 400, 403); got[200] != 1 {
		t.Errorf("one login is answered %v", got)
	}
}

// TestAttack46SecretIDRace: of a hundred who use a secret id that is good once,
// one is let in.
func TestAttack46SecretIDRace(t *testing.T) {
	t.Parallel()
	n := serving(t)
	n.Put("sys/auth/approle", body{"type": "approle"})
	n.Put("auth/approle/role/app", body{"role_id": "app"})
	id := n.Put("auth/approle/role/app/secret-id", body{"num_uses": 1}).Text("data", "secret_id")
	got := together(100, func(int) int {
		return n.post(kit.NoToken, "auth/approle/login", body{"role_id": "app", "secret_id": id}).Status
	})
	if only(t, "one use", got, 200, 400, 403); got[200] != 1 {
		t.Errorf("one use is answered %v", got)
	}
	if lookup := n.post(n.Root, "auth/approle/role/app/secret-id/lookup", body{"secret_id": id}); lookup.Status != http.StatusNoContent {
		t.Errorf("the secret id is still there: %d %s", lookup.Status, lookup.Raw)
	}
}
