//go:build !openbao

package conformance_test

import (
	"testing"

	"github.com/hashicorp/vault/api/auth/kubernetes"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// loginAsPod logs in as this client has pods log in.
func loginAsPod(t *testing.T, c *api.Client, path, token string) {
	t.Helper()
	login := must(kubernetes.NewKubernetesAuth("app", kubernetes.WithMountPath(path), kubernetes.WithServiceAccountToken(token)))(t)
	secret := must(c.Auth().Login(t.Context(), login))(t)
	equal(t, "namespace", secret.Auth.Metadata["service_account_namespace"], "prod")
	equal(t, "token", c.Token(), secret.Auth.ClientToken)
}
