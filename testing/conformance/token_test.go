package conformance_test

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

func TestTokenCreateAndLookup(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	token := c.Auth().Token()
	name := policy(t, c, `path "secret/*" { capabilities = ["read"] }`)
	no := false
	made := must(token.Create(&api.TokenCreateRequest{
		Policies: []string{name}, TTL: "1h", ExplicitMaxTTL: "2h", DisplayName: "ci", NumUses: 7,
		Metadata: map[string]string{"who": "me"}, Renewable: &no,
	}))(t)
	auth := made.Auth
	holds(t, "token and accessor", auth.ClientToken != "" && auth.Accessor != "" && auth.ClientToken != auth.Accessor)
	equal(t, "policies", auth.Policies, []string{"default", name})
	equal(t, "policies of the token", auth.TokenPolicies, auth.Policies)
	equal(t, "metadata", auth.Metadata, map[string]string{"who": "me"})
	equal(t, "lifetime", []any{auth.LeaseDuration, auth.Renewable, auth.Orphan}, []any{3600, false, false})

	found := must(token.Lookup(auth.ClientToken))(t)
	equal(t, "id", must(found.TokenID())(t), auth.ClientToken)
	equal(t, "accessor", must(found.TokenAccessor())(t), auth.Accessor)
	equal(t, "uses", must(found.TokenRemainingUses())(t), 7)
	equal(t, "policies", must(found.TokenPolicies())(t), []string{"default", name})
	equal(t, "metadata", must(found.TokenMetadata())(t), map[string]string{"who": "me"})
	equal(t, "renewable", must(found.TokenIsRenewable())(t), false)
	ttl := must(found.TokenTTL())(t)
	holds(t, "ttl", ttl > 59*time.Minute && ttl <= time.Hour)
	for field, want := range map[string]any{
		"display_name": "token-ci", "path": "auth/token/create", "orphan": false, "type": "service", "entity_id": "",
	} {
		equal(t, field, found.Data[field], want)
	}
	equal(t, "explicit_max_ttl", number(t, found.Data["explicit_max_ttl"]), int64(7200))
	equal(t, "creation_ttl", number(t, found.Data["creation_ttl"]), int64(3600))
	holds(t, "creation_time", time.Since(time.Unix(number(t, found.Data["creation_time"]), 0)).Abs() < time.Minute)
	expires := must(time.Parse(time.RFC3339Nano, found.Data["expire_time"].(string)))(t)
	issued := must(time.Parse(time.RFC3339Nano, found.Data["issue_time"].(string)))(t)
	holds(t, "expire_time", expires.Sub(issued).Round(time.Second) == time.Hour)

	by := must(token.LookupAccessor(auth.Accessor))(t)
	equal(t, "the accessor does not give the token away", must(by.TokenID())(t), "")
	self := must(as(t, c, auth.ClientToken).Auth().Token().LookupSelf())(t)
	equal(t, "a use is gone", must(self.TokenRemainingUses())(t), 6)
	_, err := token.Lookup("nonesuch")
	refused(t, err, 403, "bad token")
	_, err = token.LookupAccessor("nonesuch")
	refused(t, err, 403, "invalid accessor")

	root := must(token.LookupSelf())(t)
	holds(t, "the root token does not end", root.Data["expire_time"] == nil && must(root.TokenTTL())(t) == 0)
}

func TestTokenKinds(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	token := c.Auth().Token()
	orphan := must(token.CreateOrphan(&api.TokenCreateRequest{}))(t)
	holds(t, "orphan", orphan.Auth.Orphan)
	holds(t, "orphan by request", must(token.Create(&api.TokenCreateRequest{NoParent: true}))(t).Auth.Orphan)
	equal(t, "no default policy", must(token.Create(&api.TokenCreateRequest{Policies: []string{"x"}, NoDefaultPolicy: true}))(t).Auth.Policies, []string{"x"})
	own := "own-" + rand.Text()
	equal(t, "its own id", must(token.Create(&api.TokenCreateRequest{ID: own}))(t).Auth.ClientToken, own)

	batch := must(token.Create(&api.TokenCreateRequest{Type: "batch", Policies: []string{"default"}, TTL: "1m"}))(t)
	holds(t, "batch", batch.Auth.Accessor == "" && !batch.Auth.Renewable)
	self := must(as(t, c, batch.Auth.ClientToken).Auth().Token().LookupSelf())(t)
	equal(t, "batch", self.Data["type"], "batch")
	_, err := token.Renew(batch.Auth.ClientToken, 60)
	refused(t, err, 400, "batch tokens cannot be renewed")

	periodic := must(token.Create(&api.TokenCreateRequest{Period: "1h"}))(t)
	equal(t, "period", periodic.Auth.LeaseDuration, 3600)
	equal(t, "period", number(t, must(token.Lookup(periodic.Auth.ClientToken))(t).Data["period"]), int64(3600))

	once := must(token.Create(&api.TokenCreateRequest{Policies: []string{"default"}, NumUses: 1}))(t)
	user := as(t, c, once.Auth.ClientToken)
	must(user.Auth().Token().LookupSelf())(t)
	_, err = user.Auth().Token().LookupSelf()
	refused(t, err, 403, "permission denied")
}

func TestTokenRoles(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	token, l := c.Auth().Token(), c.Logical()
	must(l.Write("auth/token/roles/conform", object{
		"allowed_policies": "a,b", "orphan": true, "token_period": "10m", "path_suffix": "suffix", "renewable": true,
		"token_bound_cidrs": []string{"127.0.0.1/32"},
	}))(t)
	role := must(l.Read("auth/token/roles/conform"))(t)
	equal(t, "period", number(t, role.Data["token_period"]), int64(600))
	equal(t, "policies", role.Data["allowed_policies"], []any{"a", "b"})
	holds(t, "listed", slices.Contains(list(t, must(l.List("auth/token/roles"))(t), "keys"), "conform"))
	made := must(token.CreateWithRole(&api.TokenCreateRequest{Policies: []string{"a"}}, "conform"))(t)
	equal(t, "token", []any{made.Auth.Policies, made.Auth.Orphan, made.Auth.LeaseDuration}, []any{[]string{"a", "default"}, true, 600})
	found := must(token.Lookup(made.Auth.ClientToken))(t)
	equal(t, "role", []any{found.Data["role"], found.Data["path"]}, []any{"conform", "auth/token/create/conform/suffix"})
	must(as(t, c, made.Auth.ClientToken).Auth().Token().LookupSelf())(t)
	_, err := token.CreateWithRole(&api.TokenCreateRequest{Policies: []string{"c"}}, "conform")
	refused(t, err, 400, "")
	_, err = token.CreateWithRole(&api.TokenCreateRequest{}, "nonesuch")
	refused(t, err, 400, "unknown role nonesuch")
	must(l.Delete("auth/token/roles/conform"))(t)
	holds(t, "gone", must(l.Read("auth/token/roles/conform"))(t) == nil)
}

func TestTokenRenewal(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	token := c.Auth().Token()
	made := must(token.Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "10m"}))(t).Auth
	renewed := must(token.Renew(made.ClientToken, 3600))(t)
	equal(t, "renewed", []any{renewed.Auth.ClientToken, renewed.Auth.LeaseDuration, renewed.Auth.Renewable}, []any{made.ClientToken, 3600, true})
	equal(t, "its policies", renewed.Auth.Policies, []string{"default"})
	equal(t, "by itself", must(as(t, c, made.ClientToken).Auth().Token().RenewSelf(1800))(t).Auth.LeaseDuration, 1800)
	equal(t, "as itself", must(token.RenewTokenAsSelf(made.ClientToken, 900))(t).Auth.LeaseDuration, 900)
	by := must(token.RenewAccessor(made.Accessor, 450))(t)
	equal(t, "by accessor", by.Auth.LeaseDuration, 450)
	equal(t, "the accessor does not give the token away", by.Auth.ClientToken, "")

	capped := must(token.Create(&api.TokenCreateRequest{TTL: "1m", ExplicitMaxTTL: "5m"}))(t).Auth
	over := must(token.Renew(capped.ClientToken, 3600))(t)
	holds(t, "cut at its greatest age, with a warning", over.Auth.LeaseDuration <= 300 && len(over.Warnings) > 0)
	no := false
	fixed := must(token.Create(&api.TokenCreateRequest{TTL: "1m", Renewable: &no}))(t).Auth
	_, err := token.Renew(fixed.ClientToken, 60)
	refused(t, err, 400, "not renewable")
}

func TestTokenRevocation(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	token := c.Auth().Token()
	family := func() (parent, child string) {
		parent = must(token.Create(&api.TokenCreateRequest{}))(t).Auth.ClientToken
		return parent, must(as(t, c, parent).Auth().Token().Create(&api.TokenCreateRequest{}))(t).Auth.ClientToken
	}
	dead := func(id string) {
		t.Helper()
		_, err := token.Lookup(id)
		refused(t, err, 403, "bad token")
		_, err = as(t, c, id).Auth().Token().LookupSelf()
		refused(t, err, 403, "permission denied")
	}
	parent, child := family()
	check(t, token.RevokeTree(parent))
	dead(parent)
	dead(child)

	parent, child = family()
	check(t, token.RevokeOrphan(parent))
	dead(parent)
	equal(t, "an orphan now", must(token.Lookup(child))(t).Data["orphan"], true)

	parent, child = family()
	check(t, token.RevokeAccessor(must(must(token.Lookup(parent))(t).TokenAccessor())(t)))
	dead(parent)
	dead(child)

	parent, child = family()
	check(t, as(t, c, parent).Auth().Token().RevokeSelf(""))
	dead(parent)
	dead(child)
	check(t, token.RevokeTree("nonesuch"))
}
