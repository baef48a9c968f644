package conformance_test

import (
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

func TestKV1(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "1")
	kv := c.KVv1(mount)
	ctx := t.Context()

	_, err := kv.Get(ctx, "a/b")
	missing(t, err)
	check(t, kv.Put(ctx, "a/b", object{"k": "1", "ttl": "90s"}))
	got := must(kv.Get(ctx, "a/b"))(t)
	equal(t, "data", got.Data, object{"k": "1", "ttl": "90s"})
	equal(t, "the client's refresh interval", got.Raw.LeaseDuration, 90)
	holds(t, "no metadata, no lease", got.VersionMetadata == nil && got.Raw.LeaseID == "" && !got.Raw.Renewable)
	check(t, kv.Put(ctx, "a/b", object{"k": "2"}))
	got = must(kv.Get(ctx, "a/b"))(t)
	equal(t, "replaced, not merged", got.Data, object{"k": "2"})
	equal(t, "the default interval", got.Raw.LeaseDuration, 32*24*60*60)

	equal(t, "list", list(t, must(c.Logical().List(mount))(t), "keys"), []string{"a/"})
	check(t, kv.Delete(ctx, "a/b"))
	check(t, kv.Delete(ctx, "a/b"))
	_, err = kv.Get(ctx, "a/b")
	missing(t, err)
	holds(t, "nothing left to list", must(c.Logical().List(mount))(t) == nil)
}

func TestKV1BecomesKV2(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "1")
	check(t, c.KVv1(mount).Put(t.Context(), "a/b", object{"k": "1"}))
	check(t, c.Sys().TuneMount(mount, api.MountConfigInput{Options: map[string]string{"version": "2"}}))
	got := must(c.KVv2(mount).Get(t.Context(), "a/b"))(t)
	equal(t, "data", got.Data, object{"k": "1"})
	equal(t, "version", got.VersionMetadata.Version, 1)
	equal(t, "option", must(c.Sys().ListMounts())(t)[mount+"/"].Options["version"], "2")
}
