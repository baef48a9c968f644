package conformance_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" // RFC 6238
	"encoding/base32"
	bigendian "encoding/binary"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// withPassword logs in at a userpass mount.
type withPassword struct{ mount, name, password string }

func (w withPassword) Login(ctx context.Context, c *api.Client) (*api.Secret, error) {
	return c.Logical().WriteWithContext(ctx, "auth/"+w.mount+"/login/"+w.name, object{"password": w.password})
}

// passcode is made as RFC 6238 says, some periods from now.
func passcode(t *testing.T, text string, periods int64) string {
	t.Helper()
	u := must(url.Parse(text))(t)
	key := must(base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret")))(t)
	mac := hmac.New(sha1.New, key)
	check(t, bigendian.Write(mac, bigendian.BigEndian, uint64(time.Now().Unix()/30+periods)))
	sum := mac.Sum(nil)
	number := bigendian.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	return fmt.Sprintf("%06d", number%1000000)
}

func TestSecondFactors(t *testing.T) {
	t.Parallel()
	root := dev.client(t)
	l, ctx := root.Logical(), t.Context()
	check(t, root.Sys().EnableAuthWithOptions("people", &api.EnableAuthOptions{Type: "userpass"}))
	t.Cleanup(func() { check(t, root.Sys().DisableAuth("people")) })
	must(l.Write("auth/people/users/alice", object{"password": "secret"}))(t)
	alice := withPassword{"people", "alice", "secret"}

	c := as(t, root, "")
	entity := must(c.Auth().Login(ctx, alice))(t).Auth.EntityID
	method, _ := must(l.Write("identity/mfa/method/totp", object{"issuer": "Coffer", "period": 30}))(t).Data["method_id"].(string)
	secret, _ := must(l.Write("identity/mfa/method/totp/admin-generate", object{"method_id": method, "entity_id": entity}))(t).Data["url"].(string)
	must(l.Write("identity/mfa/login-enforcement/people", object{"mfa_method_ids": []string{method}, "identity_entity_ids": []string{entity}}))(t)
	t.Cleanup(func() {
		must(l.Delete("identity/mfa/login-enforcement/people"))(t)
		must(l.Delete("identity/mfa/method/totp/" + method))(t)
	})

	c = as(t, root, "")
	waits := must(c.Auth().MFALogin(ctx, alice))(t)
	methods := waits.Auth.MFARequirement.MFAConstraints["people"].Any
	equal(t, "methods", []any{len(methods), methods[0].Type, methods[0].ID, methods[0].UsesPasscode}, []any{1, "totp", method, true})
	_, err := c.Auth().MFAValidate(ctx, waits, map[string]any{method: []string{"000"}})
	refused(t, err, 403, "permission denied")
	first := passcode(t, secret, 0)
	must(c.Auth().MFAValidate(ctx, waits, map[string]any{method: []string{first}}))(t)
	equal(t, "who", must(c.Auth().Token().LookupSelf())(t).Data["entity_id"], any(entity))

	c = as(t, root, "")
	must(c.Auth().MFALogin(ctx, alice, method+":"+passcode(t, secret, 1)))(t)
	c = as(t, root, "")
	_, err = c.Auth().MFALogin(ctx, alice, method+":"+first)
	refused(t, err, 403, "code already used")

	c = as(t, root, "")
	waits = must(c.Auth().MFALogin(ctx, alice))(t)
	_, err = c.Sys().MFAValidate(waits.Auth.MFARequirement.MFARequestID, map[string]any{method: []string{first}})
	refused(t, err, 403, "code already used")
}
