package conformance_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

func TestNamespaces(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	must(c.WithNamespace("").Sys().ListMounts())(t)
	must(c.WithNamespace("root").Sys().ListMounts())(t)
	team := c.WithNamespace("team")
	equal(t, "namespace", team.Namespace(), "team")
	_, err := team.Sys().ListMounts()
	refused(t, err, 400, "namespace")
	_, err = team.Logical().Write("secret/data/a", object{"data": object{}})
	refused(t, err, 400, "namespace")
	team.ClearNamespace()
	must(team.Sys().ListMounts())(t)
}

func TestCallbacksSeeRequestsAndAnswers(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	var sent, id string
	watched := c.WithRequestCallbacks(func(r *api.Request) { sent = r.Method + " " + r.URL.Path + " " + r.Headers.Get("X-Vault-Request") }).
		WithResponseCallbacks(func(r *api.Response) { id = r.Header.Get("X-Coffer-Index") })
	must(watched.Auth().Token().LookupSelf())(t)
	equal(t, "sent", sent, "GET /v1/auth/token/lookup-self true")
	holds(t, "the index that the answer was read at", id != "")
}

// A client repeats what a server cannot answer yet, with the body it had, and
// gives up in the end. It does not repeat what was wrong.
func TestRetries(t *testing.T) {
	t.Parallel()
	target := must(url.Parse(dev.address))(t)
	for _, c := range []struct {
		name   string
		status int
		fails  int64
		tries  int64
		ok     bool
	}{
		{"unavailable", 503, 2, 3, true},
		{"behind", 412, 2, 3, true},
		{"bad gateway", 502, 1, 2, true},
		{"too long", 500, 9, 4, false},
		{"wrong", 400, 9, 1, false},
		{"denied", 403, 9, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int64
			proxy := httputil.NewSingleHostReverseProxy(target)
			flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tries.Add(1) <= c.fails {
					w.WriteHeader(c.status)
					return
				}
				proxy.ServeHTTP(w, r)
			}))
			t.Cleanup(flaky.Close)
			client := dev.client(t)
			check(t, client.SetAddress(flaky.URL))
			client.SetMaxRetries(3)
			client.SetMinRetryWait(time.Millisecond)
			client.SetMaxRetryWait(2 * time.Millisecond)
			path := "retries-" + strings.ReplaceAll(c.name, " ", "-")
			_, err := client.KVv2("secret").Put(t.Context(), path, object{"k": "v"})
			equal(t, "tries", []any{tries.Load(), err == nil}, []any{c.tries, c.ok})
		})
	}
}

func TestAddressFromTheEnvironment(t *testing.T) {
	t.Setenv(api.AddressVariable, dev.address)
	c := must(api.NewClient(nil))(t)
	equal(t, "address", c.Address(), dev.address)
	holds(t, "reached", must(c.Sys().InitStatus())(t))
}

func TestTokenAsBearer(t *testing.T) {
	t.Parallel()
	c := as(t, dev.client(t), "")
	c.AddHeader("Authorization", "Bearer "+dev.token)
	equal(t, "root", must(must(c.Auth().Token().LookupSelf())(t).TokenPolicies())(t), []string{"root"})
}

func TestHealthByStatus(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	r := c.NewRequest(http.MethodHead, "/v1/sys/health")
	r.Params.Set("activecode", "299")
	r.Params.Set("standbycode", "299")
	resp := must(c.RawRequest(r))(t)
	check(t, resp.Body.Close())
	equal(t, "status", resp.StatusCode, 299)
}
