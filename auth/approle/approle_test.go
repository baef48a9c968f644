package approle_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/auth/approle"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

func mount(t *testing.T) *enginetest.Harness {
	h := enginetest.Mount(t, approle.New(), nil)
	h.Random = true
	h.Caller.Addr = netip.MustParseAddr("192.0.2.7")
	return h
}

// must does what has to succeed, and returns its data; nil if there is none.
func must(t *testing.T, h *enginetest.Harness, op engines.Operation, path, body string) map[string]any {
	t.Helper()
	resp, err := h.Do(op, path, body, nil)
	if err != nil {
		t.Fatalf("%s %s %s: %v", op, path, body, err)
	}
	if resp == nil || resp.Data == nil {
		return nil
	}
	return enginetest.Data(t, resp)
}

func refuses(t *testing.T, h *enginetest.Harness, op engines.Operation, path, body string, kind engines.Kind, text string) {
	t.Helper()
	if _, err := h.Do(op, path, body, nil); err == nil || engines.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("%s %s %s: %v, want %q", op, path, body, err, text)
	}
}

// creds makes a role and a secret id of it, and the body of their login.
func creds(t *testing.T, h *enginetest.Harness, role, secret string) (login string, made map[string]any) {
	t.Helper()
	must(t, h, engines.Update, "role/app", role)
	id := must(t, h, engines.Read, "role/app/role-id", "")["role_id"]
	made = must(t, h, engines.Update, "role/app/secret-id", secret)
	return fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, id, made["secret_id"]), made
}

func TestRole(t *testing.T) {
	t.Parallel()
	h := mount(t)
	must(t, h, engines.Update, "role/App ", `{"policies":"B,a","secret_id_ttl":"1h","secret_id_num_uses":4,"secret_id_bound_cidrs":"192.0.2.0/24","token_ttl":60,"period":"2m","local_secret_ids":true}`)
	got, want := must(t, h, engines.Read, "role/aPP", ""), map[string]string{
		"bind_secret_id": "true", "local_secret_ids": "true", "secret_id_bound_cidrs": "[192.0.2.0/24]", "secret_id_num_uses": "4",
		"secret_id_ttl": "3600", "token_policies": "[a b]", "token_ttl": "60", "token_period": "120", "token_type": "default",
		"token_bound_cidrs": "[]", "token_explicit_max_ttl": "0", "token_max_ttl": "0", "token_no_default_policy": "false",
		"token_num_uses": "0", "token_strictly_bind_ip": "false",
	}
	for name, value := range want {
		if fmt.Sprint(got[name]) != value {
			t.Errorf("%s is %v, want %s", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("read %v", got)
	}
	must(t, h, engines.Update, "role/app", `{"token_ttl":30}`)
	if got := must(t, h, engines.Read, "role/app", ""); fmt.Sprintf("%v %v", got["token_ttl"], got["token_policies"]) != "30 [a b]" {
		t.Errorf("read %v", got)
	}
	if keys := must(t, h, engines.List, "role", "")["keys"]; fmt.Sprint(keys) != "[app]" {
		t.Errorf("listed %v", keys)
	}
	must(t, h, engines.Update, "role/app/secret-id", "")
	must(t, h, engines.Delete, "role/APP", "")
	must(t, h, engines.Delete, "role/app", "")
	for _, row := range h.Store.Rows() {
		if !strings.HasPrefix(row, "expiry/") {
			t.Errorf("%s is left", row)
		}
	}
	h.Now = h.Now.Add(2 * time.Hour)
	must(t, h, engines.Update, "tidy/secret-id", "")
	if rows := h.Store.Rows(); len(rows) > 0 {
		t.Errorf("left: %v", rows)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	h := mount(t)
	must(t, h, engines.Update, "role/app", `{}`)
	for _, c := range []struct{ path, body, set, reset string }{
		{"bind-secret-id", `{"bind_secret_id":true}`, "map[bind_secret_id:true]", "map[bind_secret_id:true]"},
		{"bound-cidr-list", `{"bound_cidr_list":"10.0.0.0/8"}`, "map[bound_cidr_list:[10.0.0.0/8]]", "map[bound_cidr_list:<nil>]"},
		{"period", `{"token_period":"1m"}`, "map[period:60 token_period:60]", "map[period:0 token_period:0]"},
		{"period", `{"period":"1m"}`, "map[period:60 token_period:60]", "map[period:0 token_period:0]"},
		{"policies", `{"token_policies":["X"]}`, "map[policies:[x] token_policies:[x]]", "map[policies:[] token_policies:[]]"},
		{"policies", `{"policies":"y"}`, "map[policies:[y] token_policies:[y]]", "map[policies:[] token_policies:[]]"},
		{"secret-id-bound-cidrs", `{"secret_id_bound_cidrs":["10.0.0.1"]}`, "map[secret_id_bound_cidrs:[10.0.0.1]]", "map[secret_id_bound_cidrs:<nil>]"},
		{"secret-id-num-uses", `{"secret_id_num_uses":"7"}`, "map[secret_id_num_uses:7]", "map[secret_id_num_uses:0]"},
		{"secret-id-ttl", `{"secret_id_ttl":"2m"}`, "map[secret_id_ttl:120]", "map[secret_id_ttl:0]"},
		{"token-bound-cidrs", `{"token_bound_cidrs":"10.0.0.1"}`, "map[token_bound_cidrs:[10.0.0.1]]", "map[token_bound_cidrs:[]]"},
		{"token-max-ttl", `{"token_max_ttl":60}`, "map[token_max_ttl:60]", "map[token_max_ttl:0]"},
		{"token-num-uses", `{"token_num_uses":3}`, "map[token_num_uses:3]", "map[token_num_uses:0]"},
		{"token-ttl", `{"token_ttl":60}`, "map[token_ttl:60]", "map[token_ttl:0]"},
	} {
		path := "role/app/" + c.path
		must(t, h, engines.Update, path, c.body)
		if got := fmt.Sprint(must(t, h, engines.Read, path, "")); got != c.set {
			t.Errorf("%s set: %s, want %s", c.path, got, c.set)
		}
		must(t, h, engines.Delete, path, "")
		if got := fmt.Sprint(must(t, h, engines.Read, path, "")); got != c.reset {
			t.Errorf("%s reset: %s, want %s", c.path, got, c.reset)
		}
		refuses(t, h, engines.Update, path, `{}`, engines.KindInvalid, "missing ")
		for _, op := range []engines.Operation{engines.Read, engines.Update, engines.Delete} {
			refuses(t, h, op, "role/none/"+c.path, c.body, engines.KindNotFound, "")
		}
	}
	if got := must(t, h, engines.Read, "role/app/local-secret-ids", ""); fmt.Sprint(got) != "map[local_secret_ids:false]" {
		t.Errorf("read %v", got)
	}
}

func TestRoleID(t *testing.T) {
	t.Parallel()
	h := mount(t)
	login, _ := creds(t, h, `{"role_id":"first"}`, ``)
	must(t, h, engines.Update, "role/app/role-id", `{"role_id":"second"}`)
	refuses(t, h, engines.Update, "login", login, engines.KindInvalid, "invalid role or secret ID")
	must(t, h, engines.Update, "login", strings.Replace(login, "first", "second", 1))
	must(t, h, engines.Update, "role/other", `{"role_id":"first"}`)
	refuses(t, h, engines.Update, "role/app/role-id", `{"role_id":"first"}`, engines.KindInvalid, "role_id: it is the id of another role")
	refuses(t, h, engines.Update, "role/third", `{"role_id":"second"}`, engines.KindInvalid, "role_id: it is the id of another role")
	refuses(t, h, engines.Update, "role/third", `{"role_id":""}`, engines.KindInvalid, "role_id: ")
	must(t, h, engines.Update, "role/app", `{"role_id":"second","token_ttl":1}`)
	must(t, h, engines.Delete, "role/other", "")
	must(t, h, engines.Update, "role/app/role-id", `{"role_id":"first"}`)
}

func TestRefusedRoles(t *testing.T) {
	t.Parallel()
	h := mount(t)
	must(t, h, engines.Update, "role/app", `{}`)
	for _, c := range []struct{ path, body, text string }{
		{"role/a", `{"bind_secret_id":false}`, "at least one constraint"},
		{"role/a", `{"secret_id_bound_cidrs":"nowhere"}`, "secret_id_bound_cidrs: "},
		{"role/a", `{"bound_cidr_list":"10.0.0.0/99"}`, "bound_cidr_list: "},
		{"role/a", `{"secret_id_num_uses":-1}`, "secret_id_num_uses: "},
		{"role/a", `{"secret_id_ttl":"-1s"}`, `field "secret_id_ttl"`},
		{"role/a", `{"token_policies":"root"}`, "token_policies: "},
		{"role/a", `{"token_ttl":2,"token_max_ttl":1}`, "token_ttl"},
		{"role/a", `{"role_id":"a/b"}`, "role_id: "},
		{"role/a%01", `{}`, ""},
		{"role/" + strings.Repeat("x", 300), `{}`, "role_name: "},
		{"role/app", `{"local_secret_ids":true}`, "local_secret_ids can only be modified during role creation"},
		{"role/app/bind-secret-id", `{"bind_secret_id":false}`, "at least one constraint"},
		{"role/none/secret-id", ``, `role "none" does not exist`},
	} {
		if c.text != "" {
			refuses(t, h, engines.Update, c.path, c.body, engines.KindInvalid, c.text)
		}
	}
	refuses(t, h, engines.Read, "role/none", ``, engines.KindNotFound, "")
	resp, err := h.Do(engines.Update, "role/long", `{"token_max_ttl":"9000h"}`, nil)
	if err != nil || len(resp.Warnings) != 1 {
		t.Errorf("answered %+v, %v", resp, err)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	h := mount(t)
	login, made := creds(t, h, `{"token_policies":"p","token_ttl":60}`, `{"metadata":"{\"env\":\"prod\",\"role_name\":\"forged\"}","token_bound_cidrs":"192.0.2.0/28","num_uses":3,"ttl":"1h"}`)
	if fmt.Sprintf("%v %v", made["secret_id_ttl"], made["secret_id_num_uses"]) != "3600 3" {
		t.Errorf("made %v", made)
	}
	resp, err := h.Do(engines.Update, "login", login, nil)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := json.Marshal(resp.Auth)
	if err != nil {
		t.Fatal(err)
	}
	id := must(t, h, engines.Read, "role/app/role-id", "")["role_id"]
	for _, part := range []string{`"env":"prod","role_name":"app"`, `"Alias":"` + fmt.Sprint(id), `"BoundCIDRs":["192.0.2.0/28"]`, `"Policies":["p"]`, `"TTL":60000000000`} {
		if !strings.Contains(string(auth), part) {
			t.Errorf("%s lacks %s", auth, part)
		}
	}
	for _, row := range h.Store.Rows() {
		entry, err := h.Store.Begin().Get(row)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(row+string(entry.Value), fmt.Sprint(made["secret_id"])) {
			t.Errorf("%s keeps the secret id", row)
		}
	}
	secretOnly := fmt.Sprintf(`{"secret_id":%q}`, made["secret_id"])
	shown := must(t, h, engines.Update, "role/app/secret-id/lookup", secretOnly)
	if fmt.Sprintf("%v %v %v", shown["secret_id_num_uses"], shown["metadata"], shown["cidr_list"]) != "2 map[env:prod role_name:forged] []" {
		t.Errorf("shown %v", shown)
	}
	again := must(t, h, engines.Update, "role/app/secret-id-accessor/lookup", fmt.Sprintf(`{"secret_id_accessor":%q}`, made["secret_id_accessor"]))
	if fmt.Sprint(again) != fmt.Sprint(shown) || len(shown) != 9 {
		t.Errorf("by accessor %v, by secret id %v", again, shown)
	}
	must(t, h, engines.Update, "login", login)
	must(t, h, engines.Update, "login", login)
	refuses(t, h, engines.Update, "login", login, engines.KindInvalid, "invalid role or secret ID")
	if got := must(t, h, engines.Update, "role/app/secret-id/lookup", secretOnly); got != nil {
		t.Errorf("what is used up shows %v", got)
	}
}

func TestLoginRefused(t *testing.T) {
	t.Parallel()
	h := mount(t)
	login, made := creds(t, h, `{"role_id":"r","secret_id_bound_cidrs":"192.0.2.0/24"}`, `{"ttl":60,"cidr_list":"192.0.2.0/29"}`)
	for body, text := range map[string]string{
		``:                                "missing role_id",
		`{"role_id":"r"}`:                 "missing secret_id",
		`{"role_id":"r","secret_id":"x"}`: "invalid role or secret ID",
		`{"role_id":"s","secret_id":"x"}`: "invalid role or secret ID",
		`{"role_id":"s"}`:                 "missing secret_id",
		`{"role_id":1,"secret_id":[]}`:    `field "secret_id"`,
	} {
		refuses(t, h, engines.Update, "login", body, engines.KindInvalid, text)
	}
	for addr, text := range map[string]string{"198.51.100.1": "restrictions on the secret ID", "192.0.2.9": "restrictions on the secret ID"} {
		h.Caller.Addr = netip.MustParseAddr(addr)
		refuses(t, h, engines.Update, "login", login, engines.KindInvalid, text)
	}
	h.Caller.Addr = netip.MustParseAddr("192.0.2.7")
	h.Now = h.Now.Add(time.Minute - 1)
	must(t, h, engines.Update, "login", login)
	h.Now = h.Now.Add(1)
	refuses(t, h, engines.Update, "login", login, engines.KindInvalid, "invalid role or secret ID")
	must(t, h, engines.Update, "role/app/secret-id-accessor/destroy", fmt.Sprintf(`{"secret_id_accessor":%q}`, must(t, h, engines.Update, "role/app/secret-id", "")["secret_id_accessor"]))
	refuses(t, h, engines.Update, "role/app/secret-id-accessor/lookup", fmt.Sprintf(`{"secret_id_accessor":%q}`, made["secret_id_accessor"]), engines.KindNotFound, "accessor")
}

// TestAddressOfRole: who has the credentials is told that he is in the wrong
// place, and has spent nothing.
func TestAddressOfRole(t *testing.T) {
	t.Parallel()
	h := mount(t)
	login, _ := creds(t, h, `{"role_id":"r","secret_id_bound_cidrs":"192.0.2.0/24"}`, `{"num_uses":1}`)
	h.Caller.Addr = netip.MustParseAddr("198.51.100.1")
	refuses(t, h, engines.Update, "login", login, engines.KindInvalid, "restrictions on the role")
	h.Caller.Addr = netip.MustParseAddr("192.0.2.7")
	must(t, h, engines.Update, "login", login)
}

// TestLockout: guesses at secret ids lock the role id, and no other, whether
// there is the role or not.
func TestLockout(t *testing.T) {
	t.Parallel()
	h := mount(t)
	for range 5 {
		refuses(t, h, engines.Update, "login", `{"role_id":"none","secret_id":"x"}`, engines.KindInvalid, "invalid role or secret ID")
	}
	refuses(t, h, engines.Update, "login", `{"role_id":"none","secret_id":"x"}`, engines.KindDenied, "permission denied")
	login, _ := creds(t, h, `{"role_id":"r"}`, ``)
	guess := func(n int) {
		for range n {
			refuses(t, h, engines.Update, "login", `{"role_id":"r","secret_id":"x"}`, engines.KindInvalid, "invalid role or secret ID")
		}
	}
	guess(4)
	must(t, h, engines.Update, "login", login)
	guess(5)
	refuses(t, h, engines.Update, "login", login, engines.KindDenied, "permission denied")
	h.Now = h.Now.Add(15 * time.Minute)
	must(t, h, engines.Update, "login", login)
}

func TestWithoutSecretID(t *testing.T) {
	t.Parallel()
	h := mount(t)
	must(t, h, engines.Update, "role/app", `{"role_id":"r","bind_secret_id":false,"token_bound_cidrs":"192.0.2.0/24"}`)
	must(t, h, engines.Update, "login", `{"role_id":"r"}`)
	refuses(t, h, engines.Update, "role/app/secret-id", ``, engines.KindInvalid, "bind_secret_id is not set on the role")
	refuses(t, h, engines.Delete, "role/app/token-bound-cidrs", ``, engines.KindInvalid, "at least one constraint")
	h.Caller.Addr = netip.Addr{}
	for _, id := range []string{"r", "none"} { // which of them there is, is not told there
		refuses(t, h, engines.Update, "login", fmt.Sprintf(`{"role_id":%q}`, id), engines.KindInvalid, "missing secret_id")
		refuses(t, h, engines.Update, "login", fmt.Sprintf(`{"role_id":%q,"secret_id":"x"}`, id), engines.KindInvalid, "invalid role or secret ID")
	}
}

func TestSecretIDs(t *testing.T) {
	t.Parallel()
	h := mount(t)
	must(t, h, engines.Update, "role/app", `{"role_id":"r","secret_id_num_uses":5,"secret_id_ttl":"1h","secret_id_bound_cidrs":"192.0.2.0/24","token_bound_cidrs":"192.0.2.0/24"}`)
	for body, text := range map[string]string{
		`{"num_uses":6}`:                   "num_uses cannot be higher",
		`{"num_uses":0}`:                   "num_uses cannot be higher",
		`{"num_uses":-1}`:                  "num_uses cannot be negative",
		`{"ttl":"61m"}`:                    "ttl cannot be longer",
		`{"ttl":0}`:                        "ttl cannot be longer",
		`{"cidr_list":"192.0.0.0/16"}`:     "cidr_list: failed to verify subset",
		`{"cidr_list":"x"}`:                "cidr_list: ",
		`{"token_bound_cidrs":"10.0.0.1"}`: "token_bound_cidrs: failed to verify subset",
		`{"metadata":"[]"}`:                "metadata: ",
		`{"metadata":"{\"a\":1}"}`:         "metadata: ",
		`{"metadata":{"a":"b"}}`:           `field "metadata"`,
		`{"metadata":"` + strings.Repeat("x", 17000) + `"}`: "metadata: at most",
	} {
		refuses(t, h, engines.Update, "role/app/secret-id", body, engines.KindInvalid, text)
	}
	custom := `{"secret_id":"chosen","num_uses":2}`
	if got := must(t, h, engines.Update, "role/app/custom-secret-id", custom); got["secret_id"] != "chosen" {
		t.Errorf("made %v", got)
	}
	refuses(t, h, engines.Update, "role/app/custom-secret-id", custom, engines.KindInvalid, "secret_id: it is already registered")
	refuses(t, h, engines.Update, "role/app/custom-secret-id", `{}`, engines.KindInvalid, "secret_id: ")
	must(t, h, engines.Update, "role/other", `{}`)
	must(t, h, engines.Update, "role/other/custom-secret-id", custom)
	must(t, h, engines.Update, "login", `{"role_id":"r","secret_id":"chosen"}`)
	accessors := must(t, h, engines.List, "role/app/secret-id", "")["keys"].([]any)
	if len(accessors) != 1 {
		t.Fatalf("listed %v", accessors)
	}
	byAccessor := fmt.Sprintf(`{"secret_id_accessor":%q}`, accessors[0])
	refuses(t, h, engines.Update, "role/other/secret-id-accessor/lookup", byAccessor, engines.KindNotFound, "")
	refuses(t, h, engines.Delete, "role/app/secret-id-accessor/destroy", `{"secret_id_accessor":"../x"}`, engines.KindNotFound, "")
	refuses(t, h, engines.Delete, "role/app/secret-id-accessor/destroy", ``, engines.KindInvalid, "missing secret_id_accessor")
	refuses(t, h, engines.Update, "role/app/secret-id/lookup", ``, engines.KindInvalid, "missing secret_id")
	must(t, h, engines.Delete, "role/app/secret-id-accessor/destroy", byAccessor)
	refuses(t, h, engines.Update, "login", `{"role_id":"r","secret_id":"chosen"}`, engines.KindInvalid, "invalid role or secret ID")
	must(t, h, engines.Update, "role/app/custom-secret-id", custom)
	for range 2 {
		must(t, h, engines.Update, "role/app/secret-id/destroy", `{"secret_id":"chosen"}`)
	}
	refuses(t, h, engines.Update, "login", `{"role_id":"r","secret_id":"chosen"}`, engines.KindInvalid, "invalid role or secret ID")
}

// TestNarrowedRole: a secret id never gives more than its role allows now.
func TestNarrowedRole(t *testing.T) {
	t.Parallel()
	h := mount(t)
	login, _ := creds(t, h, `{"token_bound_cidrs":"192.0.2.0/24"}`, `{"token_bound_cidrs":"192.0.2.0/28"}`)
	must(t, h, engines.Update, "login", login)
	must(t, h, engines.Update, "role/app", `{"token_bound_cidrs":"192.0.2.7"}`)
	refuses(t, h, engines.Update, "login", login, engines.KindInvalid, "no longer allows")
}

// TestTidy: what is over goes, by itself or when it is told to, and nothing else.
func TestTidy(t *testing.T) {
	t.Parallel()
	h := mount(t)
	must(t, h, engines.Update, "role/app", `{}`)
	for range 20 {
		must(t, h, engines.Update, "role/app/secret-id", `{"ttl":"1h"}`)
	}
	must(t, h, engines.Update, "role/app/secret-id", `{"ttl":"72h"}`)
	must(t, h, engines.Update, "role/app/secret-id", ``)
	left := func() int {
		return len(must(t, h, engines.List, "role/app/secret-id", "")["keys"].([]any))
	}
	must(t, h, engines.Update, "tidy/secret-id", "")
	if n := left(); n != 22 {
		t.Fatalf("%d are left of 22, none of which is over", n)
	}
	h.Now = h.Now.Add(time.Hour + time.Second)
	must(t, h, engines.Update, "tidy/secret-id", "")
	if n := left(); n != 2 {
		t.Errorf("%d are left, want 2", n)
	}
	h.Now = h.Now.Add(96 * time.Hour)
	for range 200 {
		must(t, h, engines.Update, "role/app/secret-id", ``)
	}
	if n := left(); n != 201 {
		t.Errorf("%d are left, want 201: one is over and has not gone by itself", n)
	}
}
