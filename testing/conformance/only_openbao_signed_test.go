//go:build openbao

package conformance_test

import (
	"context"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// pod logs in as this client's module for Kubernetes does, which is one of its own.
type pod struct{ path, token string }

func (p pod) Login(ctx context.Context, c *api.Client) (*api.Secret, error) {
	return c.Logical().WriteWithContext(ctx, "auth/"+p.path+"/login", object{"role": "app", "jwt": p.token})
}

func loginAsPod(t *testing.T, c *api.Client, path, token string) {
	t.Helper()
	secret := must(c.Auth().Login(t.Context(), pod{path, token}))(t)
	equal(t, "token", c.Token(), secret.Auth.ClientToken)
}
