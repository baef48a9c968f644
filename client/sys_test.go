package client_test

import (
	"testing"

	"github.com/coffer-secrets/coffer/client"
)

func TestSysCalls(t *testing.T) {
	f := newFake(t, always(200, `{"nonce":"n","sealed":true,"initialized":true,"help":"words","data":{"path":"secret/","options":{"version":"2"}}}`))
	c := f.client(t, func(cfg *client.Config) { cfg.WrapTTL = "1m" })
	ctx := t.Context()
	calls := []struct {
		method, uri, body string
		do                func() error
	}{
		{"GET", "/v1/sys/seal-status", "", func() error { _, err := c.SealStatus(ctx); return err }},
		{"GET", "/v1/sys/leader", "", func() error { _, err := c.Leader(ctx); return err }},
		{"GET", "/v1/sys/init", "", func() error { _, err := c.Initialized(ctx); return err }},
		{"PUT", "/v1/sys/init", `{"secret_shares":5,"secret_threshold":3}`, func() error {
			_, err := c.Init(ctx, &client.InitRequest{SecretShares: 5, SecretThreshold: 3})
			return err
		}},
		{"PUT", "/v1/sys/unseal", `{"key":"k","migrate":false}`, func() error { _, err := c.Unseal(ctx, "k", false); return err }},
		{"PUT", "/v1/sys/unseal", `{"reset":true}`, func() error { _, err := c.ResetUnseal(ctx); return err }},
		{"PUT", "/v1/sys/seal", "", func() error { return c.Seal(ctx) }},
		{"PUT", "/v1/sys/step-down", "", func() error { return c.StepDown(ctx) }},
		{"GET", "/v1/sys/rekey/init", "", func() error { _, err := c.Rekey(false).Status(ctx); return err }},
		{"PUT", "/v1/sys/rekey-recovery-key/update", `{"key":"k","nonce":"n"}`, func() error { _, err := c.Rekey(true).Update(ctx, " k\n", "n"); return err }},
		{"DELETE", "/v1/sys/rekey/init", `{"nonce":"n"}`, func() error { return c.Rekey(false).Cancel(ctx, "n") }},
		{"DELETE", "/v1/sys/rekey/verify", "", func() error { return c.Rekey(false).CancelVerify(ctx, "") }},
		{"DELETE", "/v1/sys/rekey/backup", "", func() error { return c.Rekey(false).DeleteBackup(ctx) }},
		{"PUT", "/v1/sys/generate-root/attempt", `{"otp":"o"}`, func() error { _, err := c.StartRoot(ctx, "o", ""); return err }},
		{"PUT", "/v1/sys/generate-root/update", `{"key":"k","nonce":"n"}`, func() error { _, err := c.UpdateRoot(ctx, "k", "n"); return err }},
		{"DELETE", "/v1/sys/generate-root/attempt", `{"nonce":"n"}`, func() error { return c.CancelRoot(ctx, "n") }},
		{"GET", "/v1/sys/mounts?help=1", "", func() error { _, err := c.Help(ctx, "sys/mounts"); return err }},
	}
	for i, call := range calls {
		if err := call.do(); err != nil {
			t.Errorf("%s %s: %v", call.method, call.uri, err)
			continue
		}
		got := f.requests()[i]
		if got.Method != call.method || got.URI != call.uri || got.Body != call.body {
			t.Errorf("got %s %s %s, want %s %s %s", got.Method, got.URI, got.Body, call.method, call.uri, call.body)
		}
		if got.Header.Get("X-Vault-Wrap-TTL") != "" {
			t.Errorf("%s asks for a wrapped answer", call.uri)
		}
	}
	m, err := c.UIMount(ctx, "secret/a/b")
	if err != nil || m.Path != "secret/" || m.Options["version"] != "2" {
		t.Errorf("got %+v, %v", m, err)
	}
	h, err := c.Health(ctx)
	if err != nil || !h.Sealed {
		t.Errorf("got %+v, %v", h, err)
	}
}
