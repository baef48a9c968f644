//go:build !openbao

package conformance_test

import (
	"net/http"
	"net/url"
	"testing"

	vault "github.com/hashicorp/vault/api"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// cancelRecoveryRekey cancels by the path itself: RekeyRecoveryKeyCancel of this
// client cancels the rekey of the unseal keys, if there is one.
func cancelRecoveryRekey(t *testing.T, c *api.Client, nonce string) {
	t.Helper()
	check(t, c.Sys().RekeyRecoveryKeyCancel())
	holds(t, "still there", must(c.Sys().RekeyRecoveryKeyStatus())(t).Started)
	check(t, c.Sys().RekeyRecoveryKeyCancelWithNonce(nonce))
	holds(t, "cancelled", !must(c.Sys().RekeyRecoveryKeyStatus())(t).Started)
}

func TestRekeyIsCancelledByItsNonce(t *testing.T) {
	t.Parallel()
	s, keys := unsealed(t, 2, 2)
	c := as(t, s.client(t), "")
	sys := c.Sys()
	begun := must(sys.RekeyInit(&api.RekeyInitRequest{SecretShares: 1, SecretThreshold: 1}))(t)
	must(sys.RekeyUpdate(keys[0], begun.Nonce))(t)
	refused(t, sys.RekeyCancel(), 403, "nonce")
	refused(t, sys.RekeyCancelWithNonce("another"), 403, "nonce")
	check(t, sys.RekeyCancelWithNonce(begun.Nonce))
	holds(t, "cancelled", !must(sys.RekeyStatus())(t).Started)
}

func TestOneMount(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	path := mounted(t, c, "2")
	m := must(c.Sys().GetMount(path))(t)
	equal(t, "mount", []any{m.Type, m.Options["version"]}, []any{"kv", "2"})
	a := must(c.Sys().GetAuth("token"))(t)
	equal(t, "auth", a.Type, "token")
	_, err := c.Sys().GetMount("nonesuch")
	refused(t, err, 400, "")

	most := "1h"
	check(t, c.Sys().TuneMountAllowNil(path, vault.TuneMountConfigInput{MaxLeaseTTL: &most, DefaultLeaseTTL: &most}))
	empty := ""
	check(t, c.Sys().TuneMountAllowNil(path, vault.TuneMountConfigInput{Description: &empty, AllowedResponseHeaders: &[]string{}}))
	equal(t, "what is nil is left as it is", must(c.Sys().MountConfig(path))(t).MaxLeaseTTL, 3600)
}

func TestCapabilitiesByAccessor(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	reader := limited(t, c, `path "secret/data/a" { capabilities = ["read"] }`)
	accessor := must(must(reader.Auth().Token().LookupSelf())(t).TokenAccessor())(t)
	equal(t, "capabilities", must(c.Sys().CapabilitiesAccessor(accessor, "secret/data/a"))(t), []string{"read"})
	_, err := c.Sys().CapabilitiesAccessor("nonesuch", "secret/data/a")
	refused(t, err, 403, "invalid accessor")
}

func TestLogicalRequests(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	data := mounted(t, c, "2") + "/data/a"
	l, ctx := c.Logical(), t.Context()
	headers := http.Header{"X-Mine": {"1"}}

	resp := must(l.WriteRaw(data, []byte(`{"data":{"k":"1"}}`)))(t)
	equal(t, "version", number(t, must(l.ParseRawResponseAndCloseBody(resp, nil))(t).Data["version"]), int64(1))
	wrote := must(l.WriteWithRequest(ctx, vault.NewLogicalWriteRequest(data, object{"data": object{"k": "2"}}, headers)))(t)
	equal(t, "version", number(t, wrote.Data["version"]), int64(2))
	read := must(l.ReadWithRequest(ctx, vault.NewLogicalReadRequest(data, url.Values{"version": {"1"}}, headers)))(t)
	equal(t, "data", read.Data["data"], object{"k": "1"})
	must(l.DeleteWithRequest(ctx, vault.NewDeleteRequest(data, nil, headers)))(t)
	resp = must(l.DeleteRaw(data))(t)
	check(t, resp.Body.Close())
	equal(t, "deleted again", resp.StatusCode, 204)
	_, err := l.PatchRaw(data, []byte(`{"schemas":[]}`)) // SCIM's form, which is not KV's
	refused(t, err, 400, "no data provided")
}

func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	c.SetReadYourWrites(true)
	kv := c.KVv2(mounted(t, c, "2"))
	must(kv.Put(t.Context(), "a", object{"k": "v"}))(t)
	equal(t, "read", must(kv.Get(t.Context(), "a"))(t).Data, object{"k": "v"})
}

// untestedHere are the methods of Vault's client alone that nothing calls.
var untestedHere = map[string][]string{
	"a thing of Vault's Enterprise edition": {
		"Logical.ListFromSnapshot", "Logical.ReadFromSnapshot", "Logical.ReadRawFromSnapshot", "Logical.Recover", "Logical.RecoverFromPath",
		"Sys.BillingOverview",
		"Sys.GenerateDROperationTokenCancel", "Sys.GenerateDROperationTokenInit", "Sys.GenerateDROperationTokenStatus",
		"Sys.GenerateDROperationTokenUpdate",
		"Sys.RaftAutopilotConfigurationWithDRToken", "Sys.RaftAutopilotStateWithDRToken",
		"Sys.RaftForceUnloadSnapshot", "Sys.RaftLoadCloudSnapshot", "Sys.RaftLoadLocalSnapshot", "Sys.RaftUnloadSnapshot",
		"Sys.ReplicationStatus", "Sys.ReportingScan", "Sys.UtilizationReport", "Sys.UtilizationReportWithNamespace",
		"Sys.CreateUICustomMessage", "Sys.DeleteUICustomMessage", "Sys.ListUICustomMessages", "Sys.ReadUICustomMessage", "Sys.UpdateUICustomMessage",
	},
	"engines are built in: plugins need nothing to run in": {
		"Sys.DeregisterPluginRuntime", "Sys.GetPluginRuntime", "Sys.ListPluginRuntimes", "Sys.RegisterPluginDetailed", "Sys.RegisterPluginRuntime",
		"Sys.RootReloadPlugin",
	},
}
