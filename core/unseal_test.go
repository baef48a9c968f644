package core_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
	"github.com/coffer-secrets/coffer/seal/static"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestInitWithAnyNumberOfShares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ shares, threshold int }{{1, 1}, {2, 2}, {5, 3}, {255, 255}} {
		s := kit.New(t, kit.Shares(c.shares, c.threshold), kit.Sealed())
		if len(s.Keys) != c.shares {
			t.Fatalf("%d keys, want %d", len(s.Keys), c.shares)
		}
		for i, key := range s.Keys[:c.threshold] {
			status := must(t, open(s, "sys/unseal", body{"key": key}))
			if got := status.At("sealed"); got != (i < c.threshold-1) {
				t.Fatalf("%d of %d: sealed %v after %d", c.shares, c.threshold, got, i+1)
			}
		}
		s.Get("auth/token/lookup-self")
		s.Close()
	}
}

func TestInitRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Uninitialized())
	for text, b := range map[string]body{
		"0 shares":                    {},
		"256 shares":                  {"secret_shares": 256, "secret_threshold": 2},
		"threshold of 4":              {"secret_shares": 3, "secret_threshold": 4},
		"threshold of 1":              {"secret_shares": 3, "secret_threshold": 1},
		"incorrect number of PGP":     {"secret_shares": 2, "secret_threshold": 2, "pgp_keys": []string{"x"}},
		"a PGP key cannot be used":    {"secret_shares": 1, "secret_threshold": 1, "pgp_keys": []string{"x"}},
		"not applicable to seal type": {"recovery_shares": 1, "recovery_threshold": 1, "secret_shares": 1, "secret_threshold": 1},
	} {
		refused(t, open(s, "sys/init", b), 400, text)
	}
	refused(t, s.Do(kit.Request{Path: "sys/mounts"}), 503, "not initialized")
	if ok, err := s.Node.Bootstrapped(); err != nil || ok {
		t.Errorf("a refused request made a cluster: %v, %v", ok, err)
	}
	s.Init()
	refused(t, open(s, "sys/init", body{"secret_shares": 1, "secret_threshold": 1}), 400, "already initialized")
}

func TestInitWithPGP(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Uninitialized())
	operators := []*operator{newOperator(t), newOperator(t), newOperator(t)}
	r := must(t, open(s, "sys/init", body{
		"secret_shares": 2, "secret_threshold": 2, "pgp_keys": []string{operators[0].public(), operators[1].public()},
		"root_token_pgp_key": operators[2].public(),
	}))
	for i, text := range r.Strings("keys_base64") {
		must(t, open(s, "sys/unseal", body{"key": operators[i].open(text)}))
	}
	s.Root = operators[2].open(r.Text("root_token"))
	s.Get("auth/token/lookup-self")
}

func TestUnsealing(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2), kit.Sealed())
	progress := func(r *kit.Response) string { return string(r.Raw) }
	refused(t, open(s, "sys/unseal", body{"key": strings.Repeat("00", 33)}), 400, "not one of the present shares")
	refused(t, open(s, "sys/unseal", body{"key": "no key!"}), 400, "valid hex or base64")
	refused(t, open(s, "sys/unseal", body{}), 400, "'key' must be specified")
	first := must(t, open(s, "sys/unseal", body{"key": s.Keys[0]}))
	again := must(t, open(s, "sys/unseal", body{"key": s.Keys[0]}))
	if !strings.Contains(progress(again), `"progress":1`) || first.Text("nonce") == "" || again.Text("nonce") != first.Text("nonce") {
		t.Errorf("%s, then %s", first.Raw, again.Raw)
	}
	reset := must(t, open(s, "sys/unseal", body{"reset": true}))
	if !strings.Contains(progress(reset), `"progress":0`) || reset.Text("nonce") != "" {
		t.Errorf("%s", reset.Raw)
	}
	raw, err := hex.DecodeString(s.Keys[1])
	if err != nil {
		t.Fatal(err)
	}
	must(t, open(s, "sys/unseal", body{"key": base64.StdEncoding.EncodeToString(raw)}))
	done := must(t, open(s, "sys/unseal", body{"key": s.Keys[2]}))
	if done.At("sealed") != false || done.Text("cluster_id") == "" {
		t.Errorf("%s", done.Raw)
	}
	must(t, open(s, "sys/unseal", body{"key": s.Keys[2]})) // no harm once it is unsealed
}

func TestSealing(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	check := secret(t, s)
	plain := s.Login("default")
	s.Must(http.StatusForbidden, kit.Request{Method: http.MethodPut, Path: "sys/seal", Token: plain})
	check()
	s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: "sys/seal"})
	for _, path := range []string{"kv/x", "sys/mounts", "auth/token/lookup-self"} {
		refused(t, s.Do(kit.Request{Path: path}), 503, "Vault is sealed")
	}
	refused(t, open(s, "sys/rekey/init", body{"secret_shares": 1, "secret_threshold": 1}), 503, "sealed")
	refused(t, open(s, "sys/generate-root/attempt", nil), 503, "sealed")
	s.Must(http.StatusServiceUnavailable, kit.Request{Path: "sys/health", Token: kit.NoToken})
	s.Unseal()
	check()
	s.Restart()
	s.Unseal()
	check()
}

func staticWrapper(t *testing.T, id string, key byte, previous ...string) seal.Wrapper {
	t.Helper()
	cfg := static.Config{CurrentKeyID: id, CurrentKey: strings.Repeat(hex.EncodeToString([]byte{key}), 32)}
	if len(previous) > 0 {
		cfg.PreviousKeyID, cfg.PreviousKey = previous[0], previous[1]
	}
	w, err := static.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAutoUnseal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := kit.New(t, kit.Dir(dir), kit.Wrapper(staticWrapper(t, "one", 1)), kit.Shares(3, 2))
	check := secret(t, s)
	status := s.Get("sys/seal-status")
	if status.Text("type") != "static" || status.At("recovery_seal") != true || status.At("sealed") != false {
		t.Errorf("%s", status.Raw)
	}
	if len(s.Keys) != 3 {
		t.Errorf("%d recovery keys", len(s.Keys))
	}
	refused(t, open(s, "sys/rekey/init", body{"secret_shares": 1, "secret_threshold": 1}), 400, "rekey the recovery key")
	s.Restart()
	if err := s.Core.AutoUnseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
	root, keys := s.Root, s.Keys
	s.Close()
	wrong := kit.New(t, kit.Dir(dir), kit.Uninitialized(), kit.Wrapper(staticWrapper(t, "one", 9)))
	if err := wrong.Core.AutoUnseal(t.Context()); err == nil || wrong.Core.Unsealed() != nil {
		t.Errorf("a wrong key unsealed: %v", err)
	}
	wrong.Close()
	rotated := kit.New(t, kit.Dir(dir), kit.Uninitialized(),
		kit.Wrapper(staticWrapper(t, "two", 2, "one", strings.Repeat("01", 32))))
	if err := rotated.Core.AutoUnseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	rotated.Close()
	// The root key was wrapped again: the previous key is not needed any more.
	last := kit.New(t, kit.Dir(dir), kit.Uninitialized(), kit.Wrapper(staticWrapper(t, "two", 2)))
	last.Root, last.Keys = root, keys
	if err := last.Core.AutoUnseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := last.Get("kv/x").Text("data", "k"); got != "v" {
		t.Errorf("read %q", got)
	}
}

// breaking is a seal that cannot decrypt a few times.
type breaking struct {
	seal.Wrapper
	failures atomic.Int64
}

func (b *breaking) Decrypt(ctx context.Context, blob seal.Blob, aad []byte) ([]byte, error) {
	if b.failures.Add(-1) >= 0 {
		return nil, errors.New("out of order")
	}
	return b.Wrapper.Decrypt(ctx, blob, aad)
}

func TestInitShowsTheKeysThoughTheSealFails(t *testing.T) {
	t.Parallel()
	w := &breaking{Wrapper: staticWrapper(t, "one", 1)}
	w.failures.Store(1)
	s := kit.New(t, kit.Uninitialized(), kit.Wrapper(w))
	r := must(t, open(s, "sys/init", body{"recovery_shares": 1, "recovery_threshold": 1}))
	if r.Text("root_token") == "" || len(r.Strings("recovery_keys")) != 1 {
		t.Fatalf("the keys of an initialised cluster are lost: %s", r.Raw)
	}
	eventually(t, func() bool { return s.Core.Unsealed() != nil })
	s.Root = r.Text("root_token")
	s.Get("auth/token/lookup-self")
}
