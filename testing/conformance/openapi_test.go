package conformance_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// The server's description of its API is valid, whatever is mounted. With
// generic_mount_paths it cannot be: two mounts of a kind have one path then.
func TestOpenAPIDocument(t *testing.T) {
	for _, name := range []string{"approle", "cert", "jwt", "kubernetes", "oidc", "userpass"} {
		c := dev.client(t)
		check(t, c.Sys().EnableAuthWithOptions("described-"+name, &api.EnableAuthOptions{Type: name}))
		t.Cleanup(func() { check(t, c.Sys().DisableAuth("described-"+name)) })
	}
	req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, dev.address+"/v1/sys/internal/specs/openapi", nil))(t)
	req.Header.Set("X-Vault-Token", dev.token)
	resp := must(http.DefaultClient.Do(req))(t)
	body := must(io.ReadAll(resp.Body))(t)
	check(t, resp.Body.Close())
	doc := must(openapi3.NewLoader().LoadFromData(body))(t)
	check(t, doc.Validate(t.Context()))
	holds(t, "there are most of the paths", doc.Paths.Len() > 250)
}
