package conformance_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

const casMismatch = "check-and-set parameter did not match the current version"

func TestKV2PutAndGet(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	kv := c.KVv2(mounted(t, c, "2"))
	ctx := t.Context()

	_, err := kv.Get(ctx, "app/db")
	missing(t, err)
	before := time.Now().Add(-time.Second)
	first := must(kv.Put(ctx, "app/db", object{"user": "app", "n": json.Number("12345678901234567890"), "deep": object{"ä": []any{"1", nil, true}}}))(t)
	equal(t, "version", first.VersionMetadata.Version, 1)
	holds(t, "created now", first.VersionMetadata.CreatedTime.After(before) && first.VersionMetadata.CreatedTime.Before(time.Now().Add(time.Second)))
	equal(t, "second version", must(kv.Put(ctx, "app/db", object{"user": "other"}))(t).VersionMetadata.Version, 2)

	got := must(kv.Get(ctx, "app/db"))(t)
	equal(t, "data", got.Data, object{"user": "other"})
	equal(t, "version", got.VersionMetadata.Version, 2)
	holds(t, "alive", got.VersionMetadata.DeletionTime.IsZero() && !got.VersionMetadata.Destroyed)
	holds(t, "request id", got.Raw.RequestID != "")

	old := must(kv.GetVersion(ctx, "app/db", 1))(t)
	equal(t, "data of version 1", old.Data, object{"user": "app", "n": json.Number("12345678901234567890"), "deep": object{"ä": []any{"1", nil, true}}})
	equal(t, "version 1", old.VersionMetadata.Version, 1)
	_, err = kv.GetVersion(ctx, "app/db", 3)
	missing(t, err)
	_, err = kv.GetVersion(ctx, "app/other", 1)
	missing(t, err)

	versions := must(kv.GetVersionsAsList(ctx, "app/db"))(t)
	equal(t, "number of versions", len(versions), 2)
	equal(t, "last version", versions[1].Version, 2)
	_, err = kv.GetVersionsAsList(ctx, "app/other")
	missing(t, err)
}

func TestKV2CheckAndSet(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	kv := c.KVv2(mounted(t, c, "2"))
	ctx := t.Context()

	must(kv.Put(ctx, "a", object{"k": "1"}, api.WithCheckAndSet(0)))(t)
	_, err := kv.Put(ctx, "a", object{"k": "2"}, api.WithCheckAndSet(0))
	refused(t, err, 400, casMismatch)
	equal(t, "version", must(kv.Put(ctx, "a", object{"k": "2"}, api.WithCheckAndSet(1)))(t).VersionMetadata.Version, 2)

	check(t, kv.PutMetadata(ctx, "a", api.KVMetadataPutInput{CASRequired: true}))
	_, err = kv.Put(ctx, "a", object{"k": "3"})
	refused(t, err, 400, "check-and-set parameter required for this call")
	equal(t, "data", must(kv.Get(ctx, "a"))(t).Data, object{"k": "2"})
}

func TestKV2Patch(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	kv := c.KVv2(mounted(t, c, "2"))
	ctx := t.Context()

	_, err := kv.Patch(ctx, "a", object{"x": "1"})
	missing(t, err)
	_, err = kv.Patch(ctx, "a", object{"x": "1"}, api.WithMergeMethod(api.KVMergeMethodReadWrite))
	missing(t, err)
	must(kv.Put(ctx, "a", object{"keep": "1", "drop": "1", "deep": object{"x": "1", "y": "1"}}))(t)

	patched := must(kv.Patch(ctx, "a", object{"drop": nil, "deep": object{"y": nil, "z": "1"}, "new": "1"}))(t)
	equal(t, "version", patched.VersionMetadata.Version, 2)
	equal(t, "merged", must(kv.Get(ctx, "a"))(t).Data, object{"keep": "1", "deep": object{"x": "1", "z": "1"}, "new": "1"})

	_, err = kv.Patch(ctx, "a", object{"new": "2"}, api.WithMergeMethod(api.KVMergeMethodPatch), api.WithCheckAndSet(1))
	refused(t, err, 400, casMismatch)
	must(kv.Patch(ctx, "a", object{"new": "2"}, api.WithMergeMethod(api.KVMergeMethodPatch), api.WithCheckAndSet(2)))(t)
	must(kv.Patch(ctx, "a", object{"deep": "flat"}, api.WithMergeMethod(api.KVMergeMethodReadWrite)))(t)
	equal(t, "read and written", must(kv.Get(ctx, "a"))(t).Data, object{"keep": "1", "deep": "flat", "new": "2"})

	check(t, kv.Delete(ctx, "a"))
	_, err = kv.Patch(ctx, "a", object{"new": "3"})
	missing(t, err)
}

func TestKV2PatchNeedsItsCapability(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "2")
	must(c.KVv2(mount).Put(t.Context(), "a", object{"k": "1"}))(t)
	writer := limited(t, c, `path "`+mount+`/data/*" { capabilities = ["create", "read", "update"] }`)
	_, err := writer.KVv2(mount).Patch(t.Context(), "a", object{"k": "2"})
	refused(t, err, 403, "permission denied")
	must(writer.KVv2(mount).Patch(t.Context(), "a", object{"k": "2"}, api.WithMergeMethod(api.KVMergeMethodReadWrite)))(t)
}

func TestKV2DeleteUndeleteDestroy(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	kv := c.KVv2(mounted(t, c, "2"))
	ctx := t.Context()
	for _, v := range []string{"1", "2", "3"} {
		must(kv.Put(ctx, "a", object{"k": v}))(t)
	}

	check(t, kv.Delete(ctx, "a"))
	gone := must(kv.Get(ctx, "a"))(t)
	holds(t, "no data of a deleted version", gone.Data == nil)
	equal(t, "version", gone.VersionMetadata.Version, 3)
	holds(t, "deletion time", !gone.VersionMetadata.DeletionTime.IsZero() && !gone.VersionMetadata.Destroyed)
	check(t, kv.Undelete(ctx, "a", []int{3}))
	equal(t, "undeleted", must(kv.Get(ctx, "a"))(t).Data, object{"k": "3"})

	check(t, kv.DeleteVersions(ctx, "a", []int{1, 2}))
	holds(t, "no data of version 1", must(kv.GetVersion(ctx, "a", 1))(t).Data == nil)
	check(t, kv.Undelete(ctx, "a", []int{1}))
	equal(t, "version 1", must(kv.GetVersion(ctx, "a", 1))(t).Data, object{"k": "1"})

	check(t, kv.Destroy(ctx, "a", []int{1}))
	destroyed := must(kv.GetVersion(ctx, "a", 1))(t)
	holds(t, "destroyed", destroyed.Data == nil && destroyed.VersionMetadata.Destroyed)
	check(t, kv.Undelete(ctx, "a", []int{1}))
	holds(t, "destroyed for good", must(kv.GetVersion(ctx, "a", 1))(t).Data == nil)

	check(t, kv.DeleteMetadata(ctx, "a"))
	_, err := kv.Get(ctx, "a")
	missing(t, err)
	_, err = kv.GetMetadata(ctx, "a")
	missing(t, err)
	check(t, kv.Delete(ctx, "a"))
	check(t, kv.DeleteMetadata(ctx, "a"))
	check(t, kv.Undelete(ctx, "a", []int{1}))
	check(t, kv.Destroy(ctx, "a", []int{1}))
	equal(t, "counted anew", must(kv.Put(ctx, "a", object{}))(t).VersionMetadata.Version, 1)
}

func TestKV2Metadata(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	kv := c.KVv2(mounted(t, c, "2"))
	ctx := t.Context()

	check(t, kv.PutMetadata(ctx, "a", api.KVMetadataPutInput{
		MaxVersions: 2, DeleteVersionAfter: time.Hour, CustomMetadata: object{"owner": "team", "tier": "1"},
	}))
	bare := must(kv.GetMetadata(ctx, "a"))(t)
	equal(t, "no versions yet", len(bare.Versions), 0)
	for range 3 {
		must(kv.Put(ctx, "a", object{"k": "v"}))(t)
	}
	md := must(kv.GetMetadata(ctx, "a"))(t)
	equal(t, "current version", md.CurrentVersion, 3)
	equal(t, "oldest version", md.OldestVersion, 2)
	equal(t, "max versions", md.MaxVersions, 2)
	equal(t, "delete version after", md.DeleteVersionAfter, time.Hour)
	equal(t, "custom metadata", md.CustomMetadata, object{"owner": "team", "tier": "1"})
	equal(t, "kept versions", len(md.Versions), 2)
	holds(t, "version 3 dies in an hour", time.Until(md.Versions["3"].DeletionTime) > 59*time.Minute)
	holds(t, "times", !md.CreatedTime.IsZero() && !md.UpdatedTime.Before(md.CreatedTime))
	equal(t, "custom metadata beside the data", must(kv.Get(ctx, "a"))(t).CustomMetadata, object{"owner": "team", "tier": "1"})

	required, most, forever := true, 5, time.Duration(0)
	check(t, kv.PatchMetadata(ctx, "a", api.KVMetadataPatchInput{
		CASRequired: &required, MaxVersions: &most, DeleteVersionAfter: &forever, CustomMetadata: object{"tier": nil, "new": "1"},
	}))
	md = must(kv.GetMetadata(ctx, "a"))(t)
	equal(t, "patched", []any{md.CASRequired, md.MaxVersions, md.DeleteVersionAfter}, []any{true, 5, forever})
	equal(t, "patched custom metadata", md.CustomMetadata, object{"owner": "team", "new": "1"})
	check(t, kv.PatchMetadata(ctx, "a", api.KVMetadataPatchInput{CustomMetadata: object{}}))
	holds(t, "custom metadata removed", len(must(kv.GetMetadata(ctx, "a"))(t).CustomMetadata) == 0)

	err := kv.PatchMetadata(ctx, "nothing", api.KVMetadataPatchInput{MaxVersions: &most})
	refused(t, err, 404, "")
	err = kv.PutMetadata(ctx, "a", api.KVMetadataPutInput{CustomMetadata: object{"k": strings.Repeat("v", 600)}})
	refused(t, err, 400, "custom_metadata")
}

func TestKV2Rollback(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	kv := c.KVv2(mounted(t, c, "2"))
	ctx := t.Context()
	_, err := kv.Rollback(ctx, "a", 1)
	missing(t, err)
	must(kv.Put(ctx, "a", object{"k": "1"}))(t)
	must(kv.Put(ctx, "a", object{"k": "2"}))(t)
	equal(t, "version", must(kv.Rollback(ctx, "a", 1))(t).VersionMetadata.Version, 3)
	equal(t, "data", must(kv.Get(ctx, "a"))(t).Data, object{"k": "1"})
	check(t, kv.DeleteVersions(ctx, "a", []int{2}))
	_, err = kv.Rollback(ctx, "a", 2)
	holds(t, "no way back to a deleted version", err != nil)
}

func TestKV2ListsAndSubkeys(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "2")
	kv := c.KVv2(mount)
	for _, path := range []string{"a", "b/c", "b/d/e", "z"} {
		must(kv.Put(t.Context(), path, object{"top": object{"low": "v"}}))(t)
	}
	l := c.Logical()
	equal(t, "list", list(t, must(l.List(mount+"/metadata"))(t), "keys"), []string{"a", "b/", "z"})
	equal(t, "list below", list(t, must(l.List(mount+"/metadata/b"))(t), "keys"), []string{"c", "d/"})
	holds(t, "list of nothing", must(l.List(mount+"/metadata/nothing"))(t) == nil)
	page := must(l.ReadWithData(mount+"/metadata", map[string][]string{"list": {"true"}, "after": {"a"}, "limit": {"1"}}))(t)
	equal(t, "page", list(t, page, "keys"), []string{"b/"})
	detailed := must(l.List(mount + "/detailed-metadata"))(t)
	holds(t, "details", detailed.Data["key_info"].(object)["a"] != nil)

	sub := must(l.ReadWithData(mount+"/subkeys/a", map[string][]string{"depth": {"1"}}))(t)
	equal(t, "subkeys", sub.Data["subkeys"], object{"top": nil})
	sub = must(l.Read(mount + "/subkeys/a"))(t)
	equal(t, "all subkeys", sub.Data["subkeys"], object{"top": object{"low": nil}})
}

func TestKV2MountConfig(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "2")
	l := c.Logical()
	must(l.Write(mount+"/config", object{"max_versions": 1, "cas_required": true, "delete_version_after": "90m"}))(t)
	cfg := must(l.Read(mount + "/config"))(t)
	equal(t, "max versions", number(t, cfg.Data["max_versions"]), int64(1))
	equal(t, "cas required", cfg.Data["cas_required"], true)
	equal(t, "delete version after", cfg.Data["delete_version_after"], "1h30m0s")
	_, err := c.KVv2(mount).Put(t.Context(), "a", object{})
	refused(t, err, 400, "check-and-set parameter required for this call")
}
