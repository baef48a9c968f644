package mfa_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func refused(t *testing.T, r *kit.Response, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(strings.Join(r.Errors(), "\n"), text) {
		t.Errorf("answered %d %s, want %d with %q", r.Status, r.Raw, status, text)
	}
	if token, _ := r.At("auth", "client_token").(string); token != "" {
		t.Error("a refusal carries a token")
	}
}

// TestTwoPhases: a login without its passcode waits, and a passcode makes its
// token once.
func TestTwoPhases(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.enforce(body{"auth_method_accessors": []string{s.accessor}})
	r := s.login("alice", nil)
	if got := r.At("auth", "mfa_requirement", "mfa_constraints", "strict", "any"); got == nil {
		t.Fatalf("the constraints are missing: %s", r.Raw)
	}
	id := r.Text("auth", "mfa_requirement", "mfa_request_id")
	code := s.code("alice", 0)
	s.good(s.validate(id, code))
	refused(t, s.validate(id, s.code("alice", 1)), http.StatusBadRequest, "no login waits")
	refused(t, s.validate(s.waits("alice"), code), http.StatusForbidden, "code already used")
	refused(t, s.validate(s.waits("alice"), s.code("alice", -1)), http.StatusForbidden, "code already used")
	s.good(s.validate(s.waits("alice"), s.code("alice", 1)))
	refused(t, s.validate(s.waits("bob"), s.code("alice", 1)), http.StatusForbidden, "failed to validate")
	if strings.Contains(s.Log(), s.keys["alice"].Secret()) || strings.Contains(s.Log(), id) {
		t.Error("the log holds what is secret")
	}
}

// TestOnePasscodeRaced: of many logins that bring one passcode at once, one wins.
func TestOnePasscodeRaced(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.enforce(body{"identity_entity_ids": []string{s.entities["alice"]}})
	const racers = 24
	var ids [racers]string
	for i := range ids {
		ids[i] = s.waits("alice")
	}
	code, start := s.code("alice", 0), make(chan struct{})
	var won atomic.Int64
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			<-start
			if r := s.validate(id, code); r.Text("auth", "client_token") != "" {
				won.Add(1)
			}
		})
	}
	close(start)
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d logins had a token of one passcode", won.Load())
	}
}

// TestOneLoginRaced: one login that waits makes one token, also if two good
// passcodes come for it.
func TestOneLoginRaced(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.enforce(body{"auth_method_types": []string{"trusting"}})
	id := s.waits("alice")
	codes := []string{s.code("alice", -1), s.code("alice", 0), s.code("alice", 1)}
	var won atomic.Int64
	var all sync.WaitGroup
	for _, code := range codes {
		all.Go(func() {
			if r := s.validate(id, code); r.Text("auth", "client_token") != "" {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d tokens of one login", won.Load())
	}
}

// TestTriesEnd: wrong passcodes are counted over all logins of an entity, and
// the waits grow.
func TestTriesEnd(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.enforce(body{"auth_method_accessors": []string{s.accessor}})
	tire := func() {
		t.Helper()
		for range 5 {
			refused(t, s.validate(s.waits("alice"), s.wrong("alice")), http.StatusForbidden, "failed to validate")
		}
		refused(t, s.validate(s.waits("alice"), s.code("alice", 0)), http.StatusForbidden, "maximum TOTP validation attempts")
		refused(t, s.login("alice", http.Header{"X-Vault-Mfa": {s.method + ":" + s.code("alice", 0)}}), http.StatusForbidden, "maximum TOTP")
	}
	tire()
	s.good(s.validate(s.waits("bob"), s.code("bob", 0)))
	s.clock.Advance(31 * time.Second)
	tire()
	s.clock.Advance(31 * time.Second)
	refused(t, s.validate(s.waits("alice"), s.code("alice", 0)), http.StatusForbidden, "maximum TOTP")
	s.clock.Advance(31 * time.Second)
	s.good(s.validate(s.waits("alice"), s.code("alice", 0)))
}

// TestOneSpelling: a passcode is digits and nothing else.
func TestOneSpelling(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Put("identity/mfa/method/totp/"+s.method, body{"max_validation_attempts": 100})
	s.enforce(body{"auth_method_accessors": []string{s.accessor}})
	code := s.code("alice", 0)
	for _, spelled := range []string{
		" " + code, code + " ", code + "\n", "\t" + code, "0" + code, code + "0", code[:5], "", "+" + code[1:], "passcode= " + code,
		strings.Map(func(r rune) rune { return r - '0' + '０' }, code), "passcode=passcode=" + code,
	} {
		refused(t, s.validate(s.waits("alice"), spelled), http.StatusForbidden, "failed to validate")
	}
	for _, payload := range []any{nil, body{}, body{s.method: nil}, body{s.method: []string{code, code}}, body{s.method: 123456}, "x"} {
		refused(t, s.Do(kit.Request{Method: http.MethodPut, Path: "sys/mfa/validate", Token: kit.NoToken, Body: body{
			"mfa_request_id": s.waits("alice"), "mfa_payload": payload,
		}}), http.StatusBadRequest, "mfa_payload")
	}
	s.good(s.validate(s.waits("alice"), "passcode="+code))
}

// TestHeader: the passcode may come with the login, by the method's id or name.
func TestHeader(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.enforce(body{"auth_method_accessors": []string{s.accessor}})
	with := func(values ...string) *kit.Response { return s.login("alice", http.Header{"X-Vault-Mfa": values}) }
	s.good(with("phone:" + s.code("alice", -1)))
	s.good(with(s.method + ":passcode=" + s.code("alice", 0)))
	refused(t, with("phone:"+s.code("alice", 0)), http.StatusForbidden, "code already used")
	refused(t, with("other:"+s.code("alice", 1)), http.StatusForbidden, "no passcode was given")
	refused(t, with("phone"), http.StatusBadRequest, "METHOD:PASSCODE")
	refused(t, with("phone:1", "phone:2"), http.StatusBadRequest, "one passcode")
	s.good(with("other:1", "phone:"+s.code("alice", 1)))
}

// TestWaitEnds: a login waits five minutes, and then leaves nothing behind.
func TestWaitEnds(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.enforce(body{"auth_method_accessors": []string{s.accessor}})
	id, late := s.waits("alice"), s.waits("alice")
	s.clock.Advance(5*time.Minute - time.Second)
	s.good(s.validate(id, s.code("alice", 0)))
	s.clock.Advance(time.Second)
	refused(t, s.validate(late, s.code("alice", 1)), http.StatusBadRequest, "no login waits")
	for _, id := range []string{"", "x", strings.Repeat("../", 12)} {
		if r := s.validate(id, "000000"); r.Status != http.StatusBadRequest {
			t.Errorf("%q: answered %d %s", id, r.Status, r.Raw)
		}
	}
}

// TestWhatHoldsNow: a login that waits is judged by what holds when its passcode
// comes.
func TestWhatHoldsNow(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.enforce(body{"auth_method_accessors": []string{s.accessor}})
	id := s.waits("alice")
	other := s.Put("identity/mfa/method/totp", body{"issuer": "Coffer", "digits": 8, "algorithm": "SHA512"}).Text("data", "method_id")
	s.Put("identity/mfa/login-enforcement/second", body{"mfa_method_ids": other, "identity_entity_ids": s.entities["alice"]})
	refused(t, s.validate(id, s.code("alice", -1)), http.StatusForbidden, "second")
	s.Delete("identity/mfa/login-enforcement/second")
	s.Put("identity/entity/id/"+s.entities["alice"], body{"disabled": true})
	refused(t, s.validate(id, s.code("alice", 0)), http.StatusForbidden, "permission denied")
	s.Put("identity/entity/id/"+s.entities["alice"], body{"disabled": false})
	s.Delete("sys/auth/who")
	refused(t, s.validate(id, s.code("alice", 0)), http.StatusForbidden, "permission denied")
}

// TestUnreadableRulesRefuse: who cannot know what to ask for lets nobody in.
func TestUnreadableRulesRefuse(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.enforce(body{"identity_entity_ids": s.entities["alice"]})
	id := s.waits("alice")
	s.good(s.login("bob", nil))
	s.Put("auth/who/spoil", nil)
	for _, name := range []string{"alice", "bob"} {
		refused(t, s.login(name, nil), http.StatusInternalServerError, "internal error")
	}
	refused(t, s.validate(id, s.code("alice", 0)), http.StatusInternalServerError, "internal error")
}

// TestWhoIsAsked: each kind of target covers whom it names, and nobody else.
func TestWhoIsAsked(t *testing.T) {
	t.Parallel()
	s := started(t)
	inner := s.Put("identity/group", body{"name": "inner", "member_entity_ids": s.entities["alice"]}).Text("data", "id")
	outer := s.Put("identity/group", body{"name": "outer", "member_group_ids": inner}).Text("data", "id")
	for target, both := range map[string]bool{
		"auth_method_types=trusting": true, "auth_method_accessors=" + s.accessor: true, "identity_entity_ids=" + s.entities["alice"]: false,
		"identity_group_ids=" + inner: false, "identity_group_ids=" + outer: false,
	} {
		name, value, _ := strings.Cut(target, "=")
		s.enforce(body{name: value})
		s.waits("alice")
		if both {
			s.waits("bob")
		} else {
			s.good(s.login("bob", nil))
		}
		s.Delete("identity/mfa/login-enforcement/strict")
		s.good(s.login("alice", nil))
	}
	// Nor does an entity escape by becoming part of another.
	s.enforce(body{"identity_entity_ids": s.entities["alice"]})
	into := s.Put("identity/entity", body{"name": "into"}).Text("data", "id")
	s.Put("identity/entity/merge", body{"from_entity_ids": s.entities["alice"], "to_entity_id": into})
	s.good(s.validate(s.waits("alice"), s.code("alice", 0)))
}

// TestSecrets: a secret is made once, shown once, and destroyed.
func TestSecrets(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Policy("own", `path "identity/mfa/method/totp/generate" { capabilities = ["update"] }`)
	carol := s.login("carol", nil)
	generate := func(token string) *kit.Response {
		return s.Do(kit.Request{Method: http.MethodPut, Path: "identity/mfa/method/totp/generate", Token: token, Body: body{"method_id": s.method}})
	}
	if r := generate(carol.Text("auth", "client_token")); !strings.HasPrefix(r.Text("data", "url"), "otpauth://totp/Coffer:") {
		t.Errorf("generated %d %s", r.Status, r.Raw)
	}
	if r := generate(carol.Text("auth", "client_token")); r.Status != http.StatusOK || !strings.Contains(string(r.Raw), "already has a secret") {
		t.Errorf("generated again: %d %s", r.Status, r.Raw)
	}
	refused(t, generate(""), http.StatusBadRequest, "no entity")
	s.enforce(body{"auth_method_accessors": []string{s.accessor}})
	s.Put("identity/mfa/method/totp/admin-destroy", body{"method_id": s.method, "entity_id": s.entities["alice"]})
	refused(t, s.validate(s.waits("alice"), s.code("alice", 0)), http.StatusForbidden, "no secret")
	s.Put("identity/mfa/method/totp/admin-generate", body{"method_id": s.method, "entity_id": s.entities["alice"]})
	refused(t, s.validate(s.waits("alice"), s.code("alice", 0)), http.StatusForbidden, "failed to validate")
}

// TestRows are the rows of the API.
func TestRows(t *testing.T) {
	t.Parallel()
	s := started(t)
	for _, path := range []string{"identity/mfa/method", "identity/mfa/method/totp"} {
		if keys := s.List(path).Strings("data", "keys"); !slices.Equal(keys, []string{s.method}) {
			t.Errorf("%s lists %v", path, keys)
		}
	}
	for _, path := range []string{"identity/mfa/method/totp/", "identity/mfa/method/"} {
		r := s.Get(path + s.method)
		if r.Text("data", "type") != "totp" || r.Text("data", "name") != "phone" || r.Text("data", "issuer") != "Coffer" || r.Text("data", "algorithm") != "SHA1" {
			t.Errorf("read %s", r.Raw)
		}
	}
	for _, b := range []body{
		{}, {"issuer": ""}, {"issuer": "a:b"}, {"issuer": "a", "digits": 7}, {"issuer": "a", "skew": 2}, {"issuer": "a", "period": 0},
		{"issuer": "a", "key_size": 4}, {"issuer": "a", "qr_size": 1 << 20}, {"issuer": "a", "algorithm": "MD5"}, {"issuer": "a", "method_name": "Phone"},
		{"issuer": "a", "method_name": "a:b"}, {"issuer": "a", "max_validation_attempts": -1},
	} {
		refused(t, s.Do(kit.Request{Method: http.MethodPut, Path: "identity/mfa/method/totp", Body: b}), http.StatusBadRequest, "")
	}
	for _, b := range []body{
		{}, {"mfa_method_ids": s.method}, {"mfa_method_ids": "x", "auth_method_types": "trusting"},
		{"mfa_method_ids": s.method, "auth_method_types": "nosuch"}, {"mfa_method_ids": s.method, "auth_method_accessors": "nosuch"},
		{"mfa_method_ids": s.method, "identity_group_ids": s.method}, {"mfa_method_ids": s.method, "identity_entity_ids": s.method},
	} {
		refused(t, s.Do(kit.Request{Method: http.MethodPut, Path: "identity/mfa/login-enforcement/strict", Body: b}), http.StatusBadRequest, "")
	}
	s.enforce(body{"auth_method_types": "trusting"})
	refused(t, s.Do(kit.Request{Method: http.MethodDelete, Path: "identity/mfa/method/totp/" + s.method}), http.StatusBadRequest, "still used")
	if r := s.Get("identity/mfa/login-enforcement/strict"); !slices.Equal(r.Strings("data", "auth_method_types"), []string{"trusting"}) {
		t.Errorf("read %s", r.Raw)
	}
	s.List("identity/mfa/login-enforcement")
	s.Delete("identity/mfa/login-enforcement/strict")
	s.Put("identity/mfa/method/totp/"+s.method, body{"method_name": "tablet"})
	s.Put("identity/mfa/method/totp", body{"issuer": "a", "method_name": "phone"})
	s.Delete("identity/mfa/method/totp/" + s.method)
	s.Must(http.StatusNotFound, kit.Request{Path: "identity/mfa/method/" + s.method})
}
