package conformance_test

import (
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

const spent = "wrapping token is not valid or does not exist"

// wrapping returns a client like c whose answers are all wrapped.
func wrapping(t *testing.T, c *api.Client, ttl string) *api.Client {
	t.Helper()
	w := as(t, c, c.Token())
	w.SetWrappingLookupFunc(func(string, string) string { return ttl })
	return w
}

func TestAnswersAreWrapped(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "1")
	check(t, c.KVv1(mount).Put(t.Context(), "a", object{"k": "v"}))
	w := wrapping(t, c, "5m")

	wrapped := must(w.Logical().Read(mount + "/a"))(t)
	info := wrapped.WrapInfo
	holds(t, "nothing but the wrapping", wrapped.Data == nil && wrapped.Auth == nil && info.Token != "" && info.Accessor != "")
	equal(t, "where from and how long", []any{info.CreationPath, info.TTL}, []any{mount + "/a", 300})
	holds(t, "since when", time.Since(info.CreationTime).Abs() < time.Minute)
	equal(t, "unwrapped", must(c.Logical().Unwrap(info.Token))(t).Data, object{"k": "v"})
	_, err := c.Logical().Unwrap(info.Token)
	refused(t, err, 400, spent)

	wrapped = must(w.Logical().List(mount))(t)
	equal(t, "by the wrapping token itself", list(t, must(as(t, c, wrapped.WrapInfo.Token).Logical().Unwrap(""))(t), "keys"), []string{"a"})
	wrapped = must(w.Logical().Read(mount + "/a"))(t)
	equal(t, "by a client without a token", must(as(t, c, "").Logical().Unwrap(wrapped.WrapInfo.Token))(t).Data, object{"k": "v"})
	holds(t, "nothing to wrap", must(w.Logical().Read(mount+"/nonesuch"))(t) == nil)
	_, err = c.Logical().Unwrap("nonesuch")
	refused(t, err, 400, spent)
	_, err = wrapping(t, c, "soon").Logical().Read(mount + "/a")
	refused(t, err, 400, "")
}

func TestTokensAreWrapped(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	wrapped := must(wrapping(t, c, "90s").Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}}))(t)
	holds(t, "not in the open", wrapped.Auth == nil && wrapped.WrapInfo.WrappedAccessor != "")
	equal(t, "ttl", wrapped.WrapInfo.TTL, 90)
	made := must(c.Logical().Unwrap(wrapped.WrapInfo.Token))(t)
	equal(t, "accessor", made.Auth.Accessor, wrapped.WrapInfo.WrappedAccessor)
	must(as(t, c, made.Auth.ClientToken).Auth().Token().LookupSelf())(t)
}

func TestWrappingByHand(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	l := c.Logical()
	wrapped := must(l.Write("sys/wrapping/wrap", object{"a": "b"}))(t)
	equal(t, "the client's own time", wrapped.WrapInfo.TTL, 300)
	looked := must(as(t, c, "").Logical().Write("sys/wrapping/lookup", object{"token": wrapped.WrapInfo.Token}))(t)
	equal(t, "path", looked.Data["creation_path"], "sys/wrapping/wrap")
	equal(t, "ttl", number(t, looked.Data["creation_ttl"]), int64(300))
	again := must(l.Write("sys/wrapping/rewrap", object{"token": wrapped.WrapInfo.Token}))(t)
	equal(t, "the same time again", again.WrapInfo.TTL, 300)
	_, err := l.Unwrap(wrapped.WrapInfo.Token)
	refused(t, err, 400, spent)
	equal(t, "unwrapped", must(l.Write("sys/wrapping/unwrap", object{"token": again.WrapInfo.Token}))(t).Data, object{"a": "b"})
	_, err = l.Write("sys/wrapping/lookup", object{"token": again.WrapInfo.Token})
	refused(t, err, 400, "")
}
