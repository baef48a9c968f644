//go:build openbao

package conformance_test

import (
	"context"
	"testing"

	openbao "github.com/openbao/openbao/api/v2"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

func cancelRecoveryRekey(t *testing.T, c *api.Client, _ string) {
	t.Helper()
	check(t, c.Sys().RekeyRecoveryKeyCancel())
	holds(t, "cancelled", !must(c.Sys().RekeyRecoveryKeyStatus())(t).Started)
}

func TestListsAndScansOfKV(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	ctx := t.Context()
	for _, version := range []string{"1", "2"} {
		t.Run("version "+version, func(t *testing.T) {
			mount := mounted(t, c, version)
			lister := interface {
				List(ctx context.Context, path string) (*openbao.KVList, error)
				Scan(ctx context.Context, path string) (*openbao.KVList, error)
			}(c.KVv1(mount))
			if version == "2" {
				lister = c.KVv2(mount)
			}
			for _, path := range []string{"a", "b/c", "b/d/e"} {
				if version == "2" {
					must(c.KVv2(mount).Put(ctx, path, object{"k": "v"}))(t)
				} else {
					check(t, c.KVv1(mount).Put(ctx, path, object{"k": "v"}))
				}
			}
			equal(t, "list", must(lister.List(ctx, ""))(t).Keys, []string{"a", "b/"})
			equal(t, "scan", must(lister.Scan(ctx, ""))(t).Keys, []string{"a", "b/c", "b/d/e"})
			equal(t, "scan below", must(lister.Scan(ctx, "b/"))(t).Keys, []string{"c", "d/e"})
			holds(t, "nothing", must(lister.List(ctx, "nonesuch"))(t) == nil)
		})
	}
}

func TestDetailsOfKV2(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	kv := c.KVv2(mounted(t, c, "2"))
	must(kv.Put(t.Context(), "a", object{"k": "v"}))(t)
	must(kv.Put(t.Context(), "b/c", object{"k": "v"}))(t)
	listed := must(kv.ListWithDetails(t.Context(), ""))(t)
	equal(t, "keys", listed.Keys, []string{"a", "b/"})
	equal(t, "version", listed.Metadata["a"].CurrentVersion, 1)
	scanned := must(kv.ScanWithDetails(t.Context(), ""))(t)
	equal(t, "keys", scanned.Keys, []string{"a", "b/c"})
	equal(t, "version", scanned.Metadata["b/c"].CurrentVersion, 1)
}

func TestPagesAndScans(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "1")
	for _, path := range []string{"a", "b/c", "d"} {
		check(t, c.KVv1(mount).Put(t.Context(), path, object{"k": "v"}))
	}
	l := c.Logical()
	equal(t, "page", list(t, must(l.ListPage(mount, "a", 1))(t), "keys"), []string{"b/"})
	equal(t, "all", list(t, must(l.ListPage(mount, "", -1))(t), "keys"), []string{"a", "b/", "d"})
	equal(t, "scan", list(t, must(l.Scan(mount))(t), "keys"), []string{"a", "b/c", "d"})
	equal(t, "page of a scan", list(t, must(l.ScanPage(mount, "a", 1))(t), "keys"), []string{"b/c"})
}

func TestOneMount(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	m := must(c.Sys().MountInfo(mounted(t, c, "2")))(t)
	equal(t, "mount", []any{m.Type, m.Options["version"]}, []any{"kv", "2"})
}

func TestKeyringIsRotated(t *testing.T) {
	t.Parallel()
	sys := dev.client(t).Sys()
	before := must(sys.KeyStatus())(t).Term
	check(t, sys.RotateKeyring())
	holds(t, "a newer term", must(sys.KeyStatus())(t).Term > before)
}

func TestRootIsRotated(t *testing.T) {
	t.Parallel()
	s, keys := unsealed(t, 2, 2)
	sys := s.client(t).Sys()
	_, err := as(t, s.client(t), "").Sys().RotateRootStatus()
	refused(t, err, 400, "missing client token")
	equal(t, "not started", must(sys.RotateRootStatus())(t).Started, false)
	ask := &openbao.RotateInitRequest{SecretShares: 3, SecretThreshold: 2, RequireVerification: true}
	must(sys.RotateRootInit(ask))(t)
	check(t, sys.RotateRootCancel())
	begun := must(sys.RotateRootInit(ask))(t)
	equal(t, "begun", []any{begun.Started, begun.T, begun.N, begun.Required}, []any{true, 2, 3, 2})
	must(sys.RotateRootUpdate(keys[0], begun.Nonce))(t)
	made := must(sys.RotateRootUpdate(keys[1], begun.Nonce))(t)
	holds(t, "new shares", made.Complete && len(made.Keys) == 3)
	check(t, sys.RotateRootVerificationCancel())
	nonce := must(sys.RotateRootVerificationStatus())(t).Nonce
	must(sys.RotateRootVerificationUpdate(made.Keys[0], nonce))(t)
	holds(t, "proven", must(sys.RotateRootVerificationUpdate(made.Keys[2], nonce))(t).Complete)
	_, err = sys.RotateRootRetrieveBackup()
	refused(t, err, 404, "")
	check(t, sys.RotateRootDeleteBackup())

	check(t, sys.Seal())
	must(sys.Unseal(made.Keys[1]))(t)
	holds(t, "unsealed by the new shares", !must(sys.Unseal(made.Keys[2]))(t).Sealed)
}

func TestRecoveryKeyIsRotated(t *testing.T) {
	t.Parallel()
	s := configured(t, staticSeal)
	c := s.client(t)
	sys := c.Sys()
	first := must(sys.Init(&api.InitRequest{RecoveryShares: 1, RecoveryThreshold: 1}))(t)
	c.SetToken(first.RootToken)
	equal(t, "not started", must(sys.RotateRecoveryStatus())(t).Started, false)
	ask := &openbao.RotateInitRequest{SecretShares: 2, SecretThreshold: 2, RequireVerification: true}
	must(sys.RotateRecoveryInit(ask))(t)
	check(t, sys.RotateRecoveryCancel())
	begun := must(sys.RotateRecoveryInit(ask))(t)
	made := must(sys.RotateRecoveryUpdate(first.RecoveryKeys[0], begun.Nonce))(t)
	check(t, sys.RotateRecoveryVerificationCancel())
	nonce := must(sys.RotateRecoveryVerificationStatus())(t).Nonce
	must(sys.RotateRecoveryVerificationUpdate(made.Keys[0], nonce))(t)
	holds(t, "proven", must(sys.RotateRecoveryVerificationUpdate(made.Keys[1], nonce))(t).Complete)
	_, err := sys.RotateRecoveryRetrieveBackup()
	refused(t, err, 404, "")
	check(t, sys.RotateRecoveryDeleteBackup())
}

// untestedHere are the methods of OpenBao's client alone that nothing calls.
var untestedHere = map[string][]string{
	"there is one namespace": {
		"Sys.CreateNamespace", "Sys.DeleteNamespace", "Sys.ListNamespaces", "Sys.NamespaceSealStatus", "Sys.PatchNamespace", "Sys.ReadNamespace",
		"Sys.SealNamespace", "Sys.UnsealNamespace",
	},
	"the root key is replaced only by those who hold its shares": {"Sys.RotateRoot"},
}
