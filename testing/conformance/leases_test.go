package conformance_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// lease makes a token with a role of its own and returns its lease.
func lease(t *testing.T, c *api.Client, role string) (id, token string) {
	t.Helper()
	must(c.Logical().Write("auth/token/roles/"+role, object{"orphan": true}))(t)
	made := must(c.Auth().Token().CreateWithRole(&api.TokenCreateRequest{TTL: "1h", Policies: []string{"default"}}, role))(t)
	dir := "auth/token/create/" + role
	keys, _ := must(c.Logical().List("sys/leases/lookup/" + dir))(t).Data["keys"].([]any)
	equal(t, "leases", len(keys), 1)
	name, _ := keys[0].(string)
	return dir + "/" + name, made.Auth.ClientToken
}

func TestLeases(t *testing.T) {
	c := dev.client(t)
	id, token := lease(t, c, "leased")
	got := must(c.Sys().Lookup(id))(t)
	equal(t, "the lease", got.Data["id"], any(id))
	_, err := c.Sys().Renew(id, 60)
	refused(t, err, http.StatusBadRequest, "tokens cannot be renewed through this endpoint")
	check(t, c.Sys().Revoke(id))
	_, err = c.Auth().Token().Lookup(token)
	refused(t, err, http.StatusForbidden, "bad token")
	_, err = c.Sys().Lookup(id)
	refused(t, err, http.StatusBadRequest, "invalid lease")
	for name, revoke := range map[string]func(prefix string) error{
		"prefix": func(prefix string) error { return c.Sys().RevokePrefix(prefix) },
		"force":  func(prefix string) error { return c.Sys().RevokeForce(prefix) },
		"options": func(prefix string) error {
			return c.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: prefix, Prefix: true, Sync: true})
		},
	} {
		id, token := lease(t, c, "leased-"+name)
		check(t, revoke(id[:strings.LastIndexByte(id, '/')]))
		_, err := c.Auth().Token().Lookup(token)
		refused(t, err, http.StatusForbidden, "bad token")
	}
}

// The log can be followed; that its node is sealed is on it.
func TestMonitor(t *testing.T) {
	const token = "root-monitor"
	own := must(start("server", "-dev", "-dev-no-store-token", "-dev-root-token-id="+token, "-dev-listen-address=127.0.0.1:0"))(t)
	t.Cleanup(func() { check(t, own.stop()) })
	own.token = token
	c := own.client(t)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	lines := must(c.Sys().Monitor(ctx, "info", "json"))(t)
	check(t, c.Sys().Seal())
	for line := range lines {
		if strings.Contains(line, `"msg":"sealed"`) {
			return
		}
	}
	t.Fatal("the log ended")
}
