package core_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func cancel(s *kit.Server, path, token, nonce string) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodDelete, Path: path + "?nonce=" + nonce, Token: token})
}

// give gives a ceremony shares until it is complete and returns the last answer.
func give(t *testing.T, s *kit.Server, path, nonce string, keys ...string) *kit.Response {
	t.Helper()
	var r *kit.Response
	for _, key := range keys {
		r = must(t, open(s, path, body{"key": key, "nonce": nonce}))
	}
	if r.At("complete") != true {
		t.Fatalf("not complete: %s", r.Raw)
	}
	return r
}

func TestGenerateRootWithPassword(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	start := must(t, open(s, "sys/generate-root/attempt", nil))
	otp, nonce := start.Text("otp"), start.Text("nonce")
	if otp == "" || start.At("started") != true || fmt.Sprint(start.At("otp_length")) != fmt.Sprint(len(otp)) {
		t.Fatalf("%s", start.Raw)
	}
	if got := s.Get("sys/generate-root/attempt"); got.Text("otp") != "" || got.Text("nonce") != nonce {
		t.Errorf("the password is shown twice: %s", got.Raw)
	}
	refused(t, open(s, "sys/generate-root/attempt", nil), 400, "already in progress")
	refused(t, open(s, "sys/generate-root/update", body{"key": s.Keys[0], "nonce": "x"}), 400, "incorrect nonce")
	refused(t, open(s, "sys/generate-root/update", body{"key": strings.Repeat("00", 33), "nonce": nonce}), 400, "not one of the present shares")
	done := give(t, s, "sys/generate-root/update", nonce, s.Keys[0], s.Keys[0], s.Keys[2])
	decoded := s.Must(http.StatusOK, kit.Request{
		Method: http.MethodPut, Path: "sys/decode-token", Token: kit.NoToken, Body: body{"encoded_token": done.Text("encoded_token"), "otp": otp},
	}).Text("data", "token")
	l := s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: decoded})
	if got := l.Strings("data", "policies"); len(got) != 1 || got[0] != "root" {
		t.Errorf("policies %q", got)
	}
	if got := s.Get("sys/generate-root/attempt"); got.At("started") != false {
		t.Errorf("still under way: %s", got.Raw)
	}
	refused(t, open(s, "sys/generate-root/update", body{"key": s.Keys[0], "nonce": nonce}), 400, "no root generation in progress")
}

func TestGenerateRootWithPGP(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	o := newOperator(t)
	refused(t, open(s, "sys/generate-root/attempt", body{"pgp_key": "x"}), 400, "PGP key cannot be used")
	refused(t, open(s, "sys/generate-root/attempt", body{"pgp_key": o.public(), "otp": "x"}), 400, "either")
	refused(t, open(s, "sys/generate-root/attempt", body{"otp": "short"}), 400, "characters long")
	start := must(t, open(s, "sys/generate-root/attempt", body{"pgp_key": o.public()}))
	done := give(t, s, "sys/generate-root/update", start.Text("nonce"), s.Keys[0])
	s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: o.open(done.Text("encoded_root_token"))})
}

func TestCancelRoot(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(2, 2))
	const path = "sys/generate-root/attempt"
	s.Policy("canceller", `path "sys/generate-root/attempt" { capabilities = ["delete", "sudo"] }`)
	start := func() string { t.Helper(); return must(t, open(s, path, nil)).Text("nonce") }
	start()
	must(t, cancel(s, path, kit.NoToken, "")) // no share has been given
	for _, allowed := range []func(nonce string) *kit.Response{
		func(nonce string) *kit.Response { return cancel(s, path, kit.NoToken, nonce) },
		func(string) *kit.Response { return cancel(s, path, s.Login("canceller"), "") },
		func(string) *kit.Response { return cancel(s, path, "", "") },
	} {
		nonce := start()
		must(t, open(s, "sys/generate-root/update", body{"key": s.Keys[0], "nonce": nonce}))
		refused(t, cancel(s, path, kit.NoToken, ""), 403, "shares have been given")
		refused(t, cancel(s, path, s.Login("default"), "wrong"), 403, "shares have been given")
		must(t, allowed(nonce))
		if s.Get(path).At("started") != false {
			t.Error("still under way")
		}
	}
}

func unseals(t *testing.T, s *kit.Server, keys []string) {
	t.Helper()
	s.Put("sys/seal", nil)
	s.Keys = keys
	s.Unseal()
}

// Right after an unsealing nothing has been sealed yet, which is a special case
// of the count that a rekey records.
func TestRekeyWithoutVerification(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	check := secret(t, s)
	old := s.Keys
	unseals(t, s, old)
	start := must(t, open(s, "sys/rekey/init", body{"secret_shares": 5, "secret_threshold": 3, "require_verification": false}))
	done := give(t, s, "sys/rekey/update", start.Text("nonce"), old[0], old[1])
	keys := done.Strings("keys")
	if len(keys) != 5 || done.At("verification_required") != false {
		t.Fatalf("%s", done.Raw)
	}
	s.Put("sys/seal", nil)
	refused(t, open(s, "sys/unseal", body{"key": old[0]}), 400, "not one of the present shares")
	s.Keys = keys[2:]
	s.Unseal()
	check()
	s.Put("kv/x", body{"k": "v"})
	s.Put("sys/rotate", nil) // the new root key seals the keyring from now on
	s.Restart()
	s.Keys = keys[:3]
	s.Unseal()
	check()
}

func TestRekeyWithVerification(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	check := secret(t, s)
	old := s.Keys
	start := must(t, open(s, "sys/rekey/init", body{"secret_shares": 2, "secret_threshold": 2})) // verified unless refused
	refused(t, open(s, "sys/rekey/verify", body{"key": old[0]}), 400, "no rekey verification in progress")
	done := give(t, s, "sys/rekey/update", start.Text("nonce"), old[0], old[2])
	keys, nonce := done.Strings("keys"), done.Text("verification_nonce")
	if done.At("verification_required") != true || nonce == "" || nonce == start.Text("nonce") {
		t.Fatalf("%s", done.Raw)
	}
	refused(t, open(s, "sys/rekey/update", body{"key": old[0], "nonce": start.Text("nonce")}), 400, "waits for the verification")
	refused(t, open(s, "sys/rekey/verify", body{"key": old[0], "nonce": nonce}), 400, "not one of the present shares")
	refused(t, open(s, "sys/rekey/verify", body{"key": keys[0], "nonce": start.Text("nonce")}), 400, "incorrect nonce")
	must(t, open(s, "sys/rekey/verify", body{"key": keys[0], "nonce": nonce}))
	refused(t, cancel(s, "sys/rekey/verify", kit.NoToken, ""), 403, "shares have been given")
	reset := must(t, cancel(s, "sys/rekey/verify", "", ""))
	second := reset.Text("nonce")
	if second == "" || second == nonce {
		t.Fatalf("%s", reset.Raw)
	}
	refused(t, open(s, "sys/rekey/verify", body{"key": keys[0], "nonce": nonce}), 400, "incorrect nonce")
	give(t, s, "sys/rekey/verify", second, keys[1], keys[0])
	s.Put("sys/seal", nil)
	refused(t, open(s, "sys/unseal", body{"key": old[0]}), 400, "not one of the present shares")
	s.Keys = keys
	s.Unseal()
	check()
}

func TestUnprovenSharesReplaceNothing(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	check := secret(t, s)
	old := s.Keys
	start := must(t, open(s, "sys/rekey/init", body{"secret_shares": 2, "secret_threshold": 2}))
	done := give(t, s, "sys/rekey/update", start.Text("nonce"), old[0], old[2])
	keys := done.Strings("keys")
	must(t, open(s, "sys/rekey/verify", body{"key": keys[0], "nonce": done.Text("verification_nonce")}))
	s.Restart() // in the middle of the proof
	refused(t, open(s, "sys/unseal", body{"key": keys[1]}), 400, "not one of the present shares")
	s.Keys = old
	s.Unseal()
	check()
	if got := s.Get("sys/rekey/init"); got.At("started") != false {
		t.Errorf("%s", got.Raw)
	}
	refused(t, s.Do(kit.Request{Path: "sys/rekey/verify"}), 400, "no rekey verification in progress")
}

func TestCancelRekey(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	const path = "sys/rekey/init"
	begin := body{"secret_shares": 2, "secret_threshold": 2}
	start := must(t, open(s, path, begin))
	refused(t, open(s, path, begin), 400, "rekey already in progress")
	must(t, open(s, "sys/rekey/update", body{"key": s.Keys[0], "nonce": start.Text("nonce")}))
	refused(t, cancel(s, path, kit.NoToken, ""), 403, "shares have been given")
	refused(t, cancel(s, path, kit.NoToken, "wrong"), 403, "shares have been given")
	must(t, cancel(s, path, kit.NoToken, start.Text("nonce")))
	refused(t, open(s, "sys/rekey/update", body{"key": s.Keys[0], "nonce": start.Text("nonce")}), 400, "no rekey in progress")
	for text, b := range map[string]body{
		"threshold of 3":        {"secret_shares": 2, "secret_threshold": 3},
		"incorrect number":      {"secret_shares": 2, "secret_threshold": 2, "pgp_keys": []string{"a"}},
		"without providing PGP": {"secret_shares": 2, "secret_threshold": 2, "backup": true},
	} {
		refused(t, open(s, path, b), 400, text)
	}
	refused(t, open(s, "sys/rekey-recovery-key/init", begin), 400, "not supported")
}

func TestRekeyWithPGPAndBackup(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	o := newOperator(t)
	start := must(t, open(s, "sys/rekey/init", body{
		"secret_shares": 1, "secret_threshold": 1, "pgp_keys": []string{o.public()}, "backup": true, "require_verification": false,
	}))
	s.Must(http.StatusNotFound, kit.Request{Path: "sys/rekey/backup"})
	done := give(t, s, "sys/rekey/update", start.Text("nonce"), s.Keys[0])
	s.Must(http.StatusForbidden, kit.Request{Path: "sys/rekey/backup", Token: s.Login("default")})
	s.Must(http.StatusBadRequest, kit.Request{Path: "sys/rekey/backup", Token: kit.NoToken})
	fingerprint := done.Strings("pgp_fingerprints")[0]
	backup := s.Get("sys/rekey/backup")
	if got := backup.Strings("data", "keys_base64", fingerprint); len(got) != 1 || got[0] != done.Strings("keys_base64")[0] || backup.Text("nonce") != done.Text("nonce") {
		t.Errorf("%s", backup.Raw)
	}
	s.Delete("sys/rekey/backup")
	s.Must(http.StatusNotFound, kit.Request{Path: "sys/rekey/backup"})
	unseals(t, s, []string{o.open(done.Strings("keys_base64")[0])})
}

func TestRecoveryKey(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Wrapper(staticWrapper(t, "one", 1)), kit.Shares(3, 2))
	check := secret(t, s)
	old := s.Keys
	start := must(t, open(s, "sys/rekey-recovery-key/init", body{"secret_shares": 2, "secret_threshold": 2, "require_verification": false}))
	done := give(t, s, "sys/rekey-recovery-key/update", start.Text("nonce"), old[0], old[1])
	keys := done.Strings("keys")
	attempt := must(t, open(s, "sys/generate-root/attempt", nil))
	refused(t, open(s, "sys/generate-root/update", body{"key": old[0], "nonce": attempt.Text("nonce")}), 400, "not one of the present shares")
	give(t, s, "sys/generate-root/update", attempt.Text("nonce"), keys...)
	s.Restart()
	if err := s.Core.AutoUnseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	check := secret(t, s)
	term := func() string { return fmt.Sprint(s.Get("sys/key-status").At("data", "term")) }
	if term() != "1" {
		t.Errorf("term %s", term())
	}
	s.Must(http.StatusForbidden, kit.Request{Method: http.MethodPut, Path: "sys/rotate", Token: s.Login("default")})
	for i := range 3 {
		s.Put("sys/rotate", nil)
		s.Put("kv/y", body{"k": fmt.Sprint(i)})
	}
	if term() != "4" {
		t.Errorf("term %s after three rotations", term())
	}
	check()
	s.Restart()
	s.Unseal()
	check()
	if got := s.Get("kv/y").Text("data", "k"); got != "2" || term() != "4" {
		t.Errorf("read %q under term %s", got, term())
	}
	config := s.Get("sys/rotate/config")
	if config.At("data", "enabled") != true {
		t.Errorf("%s", config.Raw)
	}
	s.Put("sys/rotate/config", body{"max_operations": 2_000_000, "interval": "48h"})
	config = s.Get("sys/rotate/config")
	if fmt.Sprint(config.At("data", "interval")) != "172800" || fmt.Sprint(config.At("data", "max_operations")) != "2000000" {
		t.Errorf("%s", config.Raw)
	}
	for _, b := range []body{{"max_operations": 5}, {"interval": "1h"}} {
		r := s.Do(kit.Request{Method: http.MethodPut, Path: "sys/rotate/config", Body: b})
		refused(t, r, 400, "must be")
	}
}

func TestSharesInHexOfAnyCase(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Sealed())
	raw, err := hex.DecodeString(s.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	must(t, open(s, "sys/unseal", body{"key": strings.ToUpper(hex.EncodeToString(raw))}))
	s.Get("sys/mounts")
}
