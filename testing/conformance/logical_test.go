package conformance_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

func TestLogical(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "2")
	l := c.Logical()
	data := mount + "/data/a"

	holds(t, "nothing there", must(l.Read(data))(t) == nil)
	wrote := must(l.Write(data, object{"data": object{"k": "1"}}))(t)
	equal(t, "version", number(t, wrote.Data["version"]), int64(1))
	wrote = must(l.WriteBytes(data, []byte(`{"data":{"k":"2","x":"y"},"options":{"cas":1}}`)))(t)
	equal(t, "version", number(t, wrote.Data["version"]), int64(2))
	wrote = must(l.JSONMergePatch(t.Context(), data, object{"data": object{"x": nil}}))(t)
	equal(t, "version", number(t, wrote.Data["version"]), int64(3))
	equal(t, "data", must(l.Read(data))(t).Data["data"], object{"k": "2"})
	old := must(l.ReadWithData(data, map[string][]string{"version": {"1"}}))(t)
	equal(t, "version 1", old.Data["data"], object{"k": "1"})
	equal(t, "keys", list(t, must(l.List(mount+"/metadata"))(t), "keys"), []string{"a"})

	raw := must(l.ReadRaw(data))(t)
	equal(t, "raw", []any{raw.StatusCode, raw.Header.Get("Content-Type"), raw.Header.Get("Cache-Control")}, []any{200, "application/json", "no-store"})
	parsed := must(l.ParseRawResponseAndCloseBody(raw, nil))(t)
	equal(t, "parsed", parsed.Data["data"], object{"k": "2"})
	raw = must(l.ReadRawWithData(data, map[string][]string{"version": {"1"}}))(t)
	equal(t, "parsed", must(api.ParseSecret(raw.Body))(t).Data["data"], object{"k": "1"})
	check(t, raw.Body.Close())

	holds(t, "nothing to tell of a deletion", must(l.Delete(data))(t) == nil)
	gone := must(l.Read(data))(t)
	holds(t, "the metadata of a deleted version", gone.Data["data"] == nil && gone.Data["metadata"].(object)["deletion_time"] != "")
	holds(t, "no data of a deletion", must(l.DeleteWithData(mount+"/metadata/a", map[string][]string{"ignored": {"1"}}))(t) == nil)
	holds(t, "all gone", must(l.Read(data))(t) == nil)
}

func TestLogicalIsRefused(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "2")
	l := c.Logical()
	none := as(t, c, "").Logical()
	_, err := none.Read(mount + "/data/a")
	refused(t, err, 400, "missing client token")
	_, err = as(t, c, "nonesuch").Logical().Write(mount+"/data/a", object{"data": object{}})
	refused(t, err, 403, "permission denied")
	_, err = limited(t, c, `path "x" { capabilities = ["read"] }`).Logical().List(mount + "/metadata")
	refused(t, err, 403, "permission denied")
	holds(t, "no such mount", must(l.Read("nonesuch/a"))(t) == nil)
	_, err = l.Write("nonesuch/a", object{})
	refused(t, err, 404, "no handler for route")
	_, err = l.Write("sys/capabilities-self", object{"paths": 1.5, "path": object{}})
	refused(t, err, 400, "")
	_, err = l.WriteBytes(mount+"/data/a", []byte(`{"data":`))
	refused(t, err, 400, "")
	_, err = l.Write(mount+"/data/a", object{"k": "v"})
	refused(t, err, 400, "no data provided")
	_, err = l.Delete("sys/host-info")
	refused(t, err, 405, "unsupported operation")
	_, err = l.Write("sys/seal-status", object{})
	refused(t, err, 405, "")
}

func TestCubbyholeIsATokensOwn(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mine := as(t, c, must(c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}}))(t).Auth.ClientToken)
	must(mine.Logical().Write("cubbyhole/a", object{"k": "v"}))(t)
	equal(t, "mine", must(mine.Logical().Read("cubbyhole/a"))(t).Data, object{"k": "v"})
	equal(t, "list", list(t, must(mine.Logical().List("cubbyhole"))(t), "keys"), []string{"a"})
	holds(t, "nobody else's", must(c.Logical().Read("cubbyhole/a"))(t) == nil)
	must(mine.Logical().Delete("cubbyhole/a"))(t)
	holds(t, "gone", must(mine.Logical().Read("cubbyhole/a"))(t) == nil)
}

func TestParseSecretOfAnyAnswer(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	resp := must(c.RawRequest(c.NewRequest(http.MethodGet, "/v1/sys/seal-status")))(t)
	plain := must(api.ParseSecret(resp.Body))(t)
	check(t, resp.Body.Close())
	equal(t, "an answer without an envelope", plain.Data["initialized"], true)

	resp, err := c.RawRequest(c.NewRequest(http.MethodGet, "/v1/secret/data/nonesuch"))
	refused(t, err, 404, "")
	body := must(io.ReadAll(resp.Body))(t)
	check(t, resp.Body.Close())
	equal(t, "nothing found", string(body), "{\"errors\":[]}\n")
}
