package conformance_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// configuredAndUnsealed starts a server of the test's own that is ready to use.
func configuredAndUnsealed(t *testing.T) *server {
	t.Helper()
	s, _ := unsealed(t, 1, 1)
	return s
}

// unsealed starts a server, initialises it and unseals it. It returns the
// shares.
func unsealed(t *testing.T, shares, threshold int) (*server, []string) {
	t.Helper()
	s := configured(t, "")
	sys := s.client(t).Sys()
	made := must(sys.Init(&api.InitRequest{SecretShares: shares, SecretThreshold: threshold}))(t)
	s.token = made.RootToken
	for _, key := range made.KeysB64[:threshold] {
		must(sys.Unseal(key))(t)
	}
	return s, made.KeysB64
}

func TestInitialiseUnsealAndSeal(t *testing.T) {
	t.Parallel()
	s := configured(t, "")
	c := s.client(t)
	c.SetMaxRetries(0)
	sys := c.Sys()
	holds(t, "not initialised", !must(sys.InitStatus())(t))
	health := must(sys.Health())(t)
	holds(t, "health says so", !health.Initialized && health.Sealed)
	_, err := sys.Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 2})
	refused(t, err, 400, "threshold")

	made := must(sys.Init(&api.InitRequest{SecretShares: 3, SecretThreshold: 2}))(t)
	equal(t, "shares", []int{len(made.Keys), len(made.KeysB64), len(made.RecoveryKeys)}, []int{3, 3, 0})
	_, err = sys.Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	refused(t, err, 400, "already initialized")
	c.SetToken(made.RootToken)
	_, err = c.Logical().Read("secret/data/a")
	refused(t, err, 503, "Vault is sealed")

	status := must(sys.Unseal(made.Keys[0]))(t)
	equal(t, "one share in", []any{status.Sealed, status.Progress, status.T, status.N}, []any{true, 1, 2, 3})
	holds(t, "a nonce", status.Nonce != "")
	equal(t, "reset", must(sys.ResetUnsealProcess())(t).Progress, 0)
	_, err = sys.Unseal("not a key")
	refused(t, err, 400, "")
	must(sys.UnsealWithOptions(&api.UnsealOpts{Key: made.KeysB64[2]}))(t)
	equal(t, "reset by option", must(sys.UnsealWithOptions(&api.UnsealOpts{Reset: true}))(t).Progress, 0)
	must(sys.Unseal(made.KeysB64[2]))(t)
	holds(t, "unsealed", !must(sys.Unseal(made.Keys[1]))(t).Sealed)
	check(t, sys.Mount("kv", &api.MountInput{Type: "kv"}))
	check(t, c.KVv1("kv").Put(t.Context(), "a", object{"k": "v"}))

	check(t, sys.Seal())
	holds(t, "sealed", must(sys.SealStatus())(t).Sealed)
	holds(t, "health says so", must(sys.Health())(t).Sealed)
	_, err = sys.ListMounts()
	refused(t, err, 503, "Vault is sealed")

	// A client that is left to its own tries again until somebody unseals.
	unsealing := must(c.Clone())(t)
	retrying := must(c.Clone())(t)
	retrying.SetToken(made.RootToken)
	retrying.SetMaxRetries(3)
	retrying.SetMinRetryWait(time.Millisecond)
	retrying.SetMaxRetryWait(time.Millisecond)
	tries := 0
	retrying.SetCheckRetry(func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		if tries++; tries == 2 {
			for _, key := range made.Keys[:2] {
				must(unsealing.Sys().Unseal(key))(t)
			}
		}
		return api.DefaultRetryPolicy(ctx, resp, err)
	})
	equal(t, "read when unsealed", must(retrying.KVv1("kv").Get(t.Context(), "a"))(t).Data, object{"k": "v"})
	equal(t, "tries", tries, 3)
	refused(t, sys.StepDown(), 400, "the only one")
}

func TestGenerateRoot(t *testing.T) {
	t.Parallel()
	s, keys := unsealed(t, 3, 2)
	sys := s.client(t).Sys()
	status := must(sys.GenerateRootStatus())(t)
	equal(t, "not started", []any{status.Started, status.Required}, []any{false, 2})

	begun := must(sys.GenerateRootInit("", ""))(t)
	holds(t, "started", begun.Started && begun.Nonce != "" && len(begun.OTP) == begun.OTPLength)
	holds(t, "the password is told once", must(sys.GenerateRootStatus())(t).OTP == "")
	_, err := sys.GenerateRootInit("", "")
	refused(t, err, 400, "already in progress")
	check(t, sys.GenerateRootCancel())
	begun = must(sys.GenerateRootInit(begun.OTP, ""))(t)
	_, err = sys.GenerateRootUpdate(keys[0], "another")
	refused(t, err, 400, "nonce")
	equal(t, "progress", must(sys.GenerateRootUpdate(keys[0], begun.Nonce))(t).Progress, 1)
	check(t, sys.GenerateRootCancel())

	begun = must(sys.GenerateRootInit("", ""))(t)
	must(sys.GenerateRootUpdate(keys[0], begun.Nonce))(t)
	done := must(sys.GenerateRootUpdate(keys[2], begun.Nonce))(t)
	holds(t, "complete", done.Complete && done.EncodedRootToken == done.EncodedToken)
	token := must(base64.RawStdEncoding.DecodeString(done.EncodedToken))(t)
	for i := range token {
		token[i] ^= begun.OTP[i]
	}
	self := must(as(t, s.client(t), string(token)).Auth().Token().LookupSelf())(t)
	equal(t, "a root token", must(self.TokenPolicies())(t), []string{"root"})
}

func TestRekeyInTwoPhases(t *testing.T) {
	t.Parallel()
	s, keys := unsealed(t, 3, 2)
	c := s.client(t)
	sys := c.Sys()
	equal(t, "not started", must(sys.RekeyStatus())(t).Started, false)
	begun := must(sys.RekeyInit(&api.RekeyInitRequest{SecretShares: 5, SecretThreshold: 3, RequireVerification: true}))(t)
	equal(t, "begun", []any{begun.Started, begun.T, begun.N, begun.Required, begun.VerificationRequired}, []any{true, 3, 5, 2, true})
	check(t, sys.RekeyCancel())
	begun = must(sys.RekeyInit(&api.RekeyInitRequest{SecretShares: 5, SecretThreshold: 3, RequireVerification: true}))(t)

	must(sys.RekeyUpdate(keys[0], begun.Nonce))(t)
	equal(t, "progress", must(sys.RekeyStatus())(t).Progress, 1)
	made := must(sys.RekeyUpdate(keys[1], begun.Nonce))(t)
	holds(t, "new shares", made.Complete && len(made.Keys) == 5 && len(made.KeysB64) == 5 && made.VerificationNonce != "")
	status := must(sys.RekeyVerificationStatus())(t)
	equal(t, "verification", []any{status.Started, status.T, status.N, status.Nonce}, []any{true, 3, 5, made.VerificationNonce})
	must(sys.RekeyVerificationUpdate(made.Keys[4], made.VerificationNonce))(t)
	check(t, sys.RekeyVerificationCancel())
	nonce := must(sys.RekeyVerificationStatus())(t).Nonce
	for i, key := range made.KeysB64[:3] {
		equal(t, "proven", must(sys.RekeyVerificationUpdate(key, nonce))(t).Complete, i == 2)
	}

	check(t, sys.Seal())
	for _, key := range keys[:2] {
		status, err := sys.Unseal(key)
		holds(t, "the old shares are dead", err != nil || status.Sealed)
	}
	must(sys.ResetUnsealProcess())(t)
	for i, key := range made.Keys[2:] {
		equal(t, "sealed", must(sys.Unseal(key))(t).Sealed, i != 2)
	}

	_, err := sys.RekeyRetrieveBackup()
	refused(t, err, 404, "")
	check(t, sys.RekeyDeleteBackup())
	_, err = sys.RekeyRecoveryKeyStatus()
	refused(t, err, 400, "recovery")
}

func TestRekeyWithoutVerification(t *testing.T) {
	t.Parallel()
	s, keys := unsealed(t, 1, 1)
	sys := s.client(t).Sys()
	begun := must(sys.RekeyInit(&api.RekeyInitRequest{SecretShares: 1, SecretThreshold: 1}))(t)
	made := must(sys.RekeyUpdate(keys[0], begun.Nonce))(t)
	holds(t, "done", made.Complete && !made.VerificationRequired)
	_, err := sys.RekeyVerificationStatus()
	refused(t, err, 400, "no rekey")
	check(t, sys.Seal())
	holds(t, "unsealed by the new share", !must(sys.Unseal(made.KeysB64[0]))(t).Sealed)
}

// staticSeal unseals a server by itself.
var staticSeal = "seal \"static\" {\n  current_key_id = \"a\"\n  current_key = \"" + strings.Repeat("5a", 32) + "\"\n}\n"

func TestRekeyOfTheRecoveryKey(t *testing.T) {
	t.Parallel()
	s := configured(t, staticSeal)
	c := s.client(t)
	sys := c.Sys()
	made := must(sys.Init(&api.InitRequest{RecoveryShares: 2, RecoveryThreshold: 2}))(t)
	equal(t, "shares", []int{len(made.Keys), len(made.RecoveryKeys), len(made.RecoveryKeysB64)}, []int{0, 2, 2})
	c.SetToken(made.RootToken)
	status := must(sys.SealStatus())(t)
	equal(t, "unseals itself", []any{status.Sealed, status.Type, status.RecoverySeal, status.T, status.N}, []any{false, "static", true, 2, 2})

	equal(t, "not started", must(sys.RekeyRecoveryKeyStatus())(t).Started, false)
	begun := must(sys.RekeyRecoveryKeyInit(&api.RekeyInitRequest{SecretShares: 1, SecretThreshold: 1}))(t)
	cancelRecoveryRekey(t, c, begun.Nonce)
	begun = must(sys.RekeyRecoveryKeyInit(&api.RekeyInitRequest{SecretShares: 2, SecretThreshold: 2, RequireVerification: true}))(t)
	must(sys.RekeyRecoveryKeyUpdate(made.RecoveryKeys[0], begun.Nonce))(t)
	again := must(sys.RekeyRecoveryKeyUpdate(made.RecoveryKeysB64[1], begun.Nonce))(t)
	holds(t, "verification is due", must(sys.RekeyRecoveryKeyVerificationStatus())(t).Started)
	check(t, sys.RekeyRecoveryKeyVerificationCancel())
	nonce := must(sys.RekeyRecoveryKeyVerificationStatus())(t).Nonce
	must(sys.RekeyRecoveryKeyVerificationUpdate(again.Keys[0], nonce))(t)
	holds(t, "proven", must(sys.RekeyRecoveryKeyVerificationUpdate(again.Keys[1], nonce))(t).Complete)
	_, err := sys.RekeyRetrieveRecoveryBackup()
	refused(t, err, 404, "")
	check(t, sys.RekeyDeleteRecoveryBackup())

	root := must(sys.GenerateRootInit("", ""))(t)
	must(sys.GenerateRootUpdate(again.Keys[0], root.Nonce))(t)
	holds(t, "the new recovery key counts", must(sys.GenerateRootUpdate(again.Keys[1], root.Nonce))(t).Complete)
}
