package jwt

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/auth/upstream"
	"github.com/coffer-secrets/coffer/engines"
)

// Where Microsoft tells of its users. Tokens may still name the older service,
// which is gone.
const (
	graphBefore = "graph.windows.net"
	graphNow    = "graph.microsoft.com"
)

var graphs = []string{graphNow, "graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"}

// askAzure gets the groups that were too many for the token, which says where
// they are instead (OpenID Connect Core, section 5.6.2). Whoever cannot be asked
// refuses the login: nobody is to lose a group unnoticed.
func (a *arrival) askAzure(ctx context.Context, access string, claims signed.Claims) error {
	name := strings.TrimPrefix(a.role.Groups, "/")
	if !a.provider.azure() || name == "" {
		return nil
	}
	if _, ok := claims.At(a.role.Groups); ok {
		return nil
	}
	names, _ := claims["_claim_names"].(map[string]any)
	source, _ := names[name].(string)
	sources, _ := claims["_claim_sources"].(map[string]any)
	from, _ := sources[source].(map[string]any)
	endpoint, _ := from["endpoint"].(string)
	if endpoint == "" {
		return nil // the role says what is missing
	}
	address, err := graphAddress(endpoint, a.provider.Issuer)
	if err != nil {
		return err
	}
	var found struct {
		Value []string `json:"value"`
	}
	if err := a.provider.client.JSON(ctx, upstream.Ask{URL: address, Bearer: access, Body: map[string]bool{"securityEnabledOnly": true}}, &found); err != nil {
		return err
	}
	groups := make([]any, len(found.Value))
	for i, group := range found.Value {
		groups[i] = group
	}
	claims[name] = groups
	return nil
}

// graphAddress is where to ask: of Microsoft or the provider itself, whatever the
// token says. Nobody else is to see the access token.
func graphAddress(endpoint, issuer string) (string, error) {
	refused := engines.Invalidf("the token says that its groups are at an address that may not be asked")
	if upstream.CheckURL(endpoint, issuer) != nil {
		return "", refused
	}
	at, err := url.Parse(endpoint)
	if err != nil {
		return "", refused
	}
	own, err := url.Parse(issuer)
	if err != nil {
		return "", refused
	}
	if at.Scheme == "https" && at.Host == graphBefore {
		_, path, _ := strings.Cut(strings.TrimPrefix(at.Path, "/"), "/") // it begins with the tenant
		at = &url.URL{Scheme: at.Scheme, Host: graphNow, Path: "/v1.0/" + path}
	}
	if at.Host != own.Host && (at.Scheme != "https" || !slices.Contains(graphs, at.Host)) {
		return "", refused
	}
	return at.String(), nil
}
