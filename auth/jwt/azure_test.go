package jwt_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAzureGroups: groups that are too many for the token are asked for where it
// says, if that is the provider or Microsoft.
func TestAzureGroups(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var strangers atomic.Int64
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	t.Cleanup(stranger.Close)
	for name, c := range map[string]struct {
		config   body
		endpoint string
		change   body
		groups   []string
		refused  string
	}{
		"asked for":          {endpoint: f.URL + "/graph/users/alice/getMemberObjects", groups: []string{"groups", "many"}},
		"in the token":       {endpoint: f.URL + "/gone", change: body{"groups": []any{"g"}}, groups: []string{"g"}},
		"nowhere":            {refused: `"groups" claim not found in token`},
		"not there":          {endpoint: f.URL + "/gone", refused: "cannot use the answer of"},
		"at a stranger's":    {endpoint: stranger.URL + "/graph", refused: "may not be asked"},
		"Microsoft, no TLS":  {endpoint: "http://graph.microsoft.com/v1.0/users/alice/getMemberObjects", refused: "may not be asked"},
		"with a user":        {endpoint: strings.Replace(f.URL, "://", "://u:p@", 1) + "/graph", refused: "may not be asked"},
		"another's provider": {config: body{"provider_config": body{}}, endpoint: f.URL + "/graph/users/alice/getMemberObjects", refused: "not found in token"},
	} {
		config := merged(body{"provider_config": body{"provider": "azure"}}, c.config)
		h := f.mount(t, config, body{"groups_claim": "groups"})
		q := authURL(t, h).Query()
		change := merged(body{}, c.change)
		if c.endpoint != "" {
			change["_claim_names"], change["_claim_sources"] = body{"groups": "src1"}, body{"src1": body{"endpoint": c.endpoint}}
		}
		f.next(f.idClaims(h, q.Get("nonce"), change), "")
		auth, err := finish(h, url.Values{"state": q["state"], "code": {"c"}}, "known")
		switch {
		case c.refused != "":
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: answered %+v %v, want a refusal with %q", name, auth, err, c.refused)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case !reflect.DeepEqual(auth.Groups, c.groups):
			t.Errorf("%s: groups %v, want %v", name, auth.Groups, c.groups)
		}
	}
	if strangers.Load() != 0 {
		t.Error("a stranger was asked, with the access token")
	}
}
