package jwt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/auth/upstream"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	configRow = "config"
	keyRow    = "key"
	wellKnown = "/.well-known/openid-configuration"
)

// Bounds of what a configuration holds.
const (
	maxTextBytes = 4 << 10
	maxEntries   = 128
)

// The modes and types in which a provider may answer the browser.
const (
	modeQuery    = "query"
	modeFormPost = "form_post"
	typeCode     = "code"
	typeIDToken  = "id_token"
)

// config is the row of the configuration.
type config struct {
	BoundIssuer string   `json:"bound_issuer"`
	DefaultRole string   `json:"default_role"`
	Algorithms  []string `json:"jwt_supported_algs"`

	Keys        []string `json:"jwt_validation_pubkeys"`
	JWKSURL     string   `json:"jwks_url"`
	JWKSCAs     string   `json:"jwks_ca_pem"`
	Issuer      string   `json:"oidc_discovery_url"`
	IssuerCAs   string   `json:"oidc_discovery_ca_pem"`
	ServerNames []string `json:"override_allowed_server_names"`

	ClientID      string          `json:"oidc_client_id"`
	ClientSecret  string          `json:"oidc_client_secret"`
	ResponseMode  string          `json:"oidc_response_mode"`
	ResponseTypes []string        `json:"oidc_response_types"`
	StateSpace    bool            `json:"namespace_in_state"`
	Provider      json.RawMessage `json:"provider_config,omitempty"`
}

func configFields() []engines.Field {
	return []engines.Field{
		{Name: "bound_issuer", Help: "What the claim \"iss\" has to be; with oidc_discovery_url that issuer if empty."},
		{Name: "default_role", Help: "The role of logins that name none."},
		{Name: "jwks_ca_pem", Help: "The CAs of jwks_url, in PEM; the machine's if empty."},
		{Name: "jwks_url", Help: "Where the keys are, as a JSON Web Key Set."},
		{Name: "jwt_supported_algs", Type: engines.Strings, Help: "The algorithms that tokens may be signed with; all of RS, PS, ES and EdDSA if empty."},
		{Name: "jwt_validation_pubkeys", Type: engines.Strings, Help: "The keys themselves, in PEM."},
		{Name: "namespace_in_state", Type: engines.Bool, Help: "Accepted; there are no namespaces."},
		{Name: "oidc_client_id", Help: "Who Coffer is at the provider."},
		{Name: "oidc_client_secret", Secret: true, Help: "With which secret."},
		{Name: "oidc_discovery_ca_pem", Help: "The CAs of the provider, in PEM; the machine's if empty."},
		{Name: "oidc_discovery_url", Help: "The provider: its issuer, without " + wellKnown + "."},
		{Name: "oidc_response_mode", Allowed: []string{"", modeQuery, modeFormPost}, Help: "How the provider answers the browser: \"query\", the default, or \"form_post\"."},
		{Name: "oidc_response_types", Type: engines.Strings, Help: "What it answers: \"code\", the default, or \"id_token\" with form_post."},
		{Name: "override_allowed_server_names", Type: engines.Strings, Help: "Names of which the server's certificate needs one, in the place of that in the address."},
		{Name: "provider_config", Type: engines.Map, Help: "Settings for one kind of provider: {\"provider\": \"azure\"} asks Microsoft for groups that are too many for a token."},
		{Name: "skip_jwks_validation", Type: engines.Bool, Help: "Take the configuration although the keys cannot be fetched now."},
	}
}

// configOf reads a configuration from a request, which gives it whole.
func configOf(f engines.Values) (*config, error) {
	c := &config{
		BoundIssuer: f.String("bound_issuer"), DefaultRole: strings.ToLower(strings.TrimSpace(f.String("default_role"))),
		Algorithms: f.Strings("jwt_supported_algs"), Keys: pemBlocks(f.Strings("jwt_validation_pubkeys")),
		JWKSURL: f.String("jwks_url"), JWKSCAs: f.String("jwks_ca_pem"),
		Issuer: strings.TrimSuffix(f.String("oidc_discovery_url"), wellKnown), IssuerCAs: f.String("oidc_discovery_ca_pem"),
		ServerNames: f.Strings("override_allowed_server_names"),
		ClientID:    f.String("oidc_client_id"), ClientSecret: f.String("oidc_client_secret"),
		ResponseMode: f.String("oidc_response_mode"), ResponseTypes: f.Strings("oidc_response_types"), StateSpace: f.Bool("namespace_in_state"),
	}
	var err error
	if c.Provider, err = providerConfig(f); err != nil {
		return nil, err
	}
	for _, text := range []string{c.BoundIssuer, c.DefaultRole, c.JWKSURL, c.Issuer, c.ClientID, c.ClientSecret} {
		if len(text) > maxTextBytes {
			return nil, engines.Invalidf("a text of the configuration is longer than %d bytes", maxTextBytes)
		}
	}
	for _, list := range [][]string{c.Algorithms, c.Keys, c.ServerNames, c.ResponseTypes} {
		if len(list) > maxEntries {
			return nil, engines.Invalidf("a list of the configuration has more than %d entries", maxEntries)
		}
	}
	if err := c.checkSource(); err != nil {
		return nil, err
	}
	return c, c.checkFlow()
}

// pemBlocks joins what came apart when several keys were written as one text.
func pemBlocks(list []string) []string {
	out := make([]string, 0, len(list))
	for _, text := range list {
		if text = strings.TrimSpace(text); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// providerConfig knows no kind of provider that needs settings.
func providerConfig(f engines.Values) (json.RawMessage, error) {
	members := f.Map("provider_config")
	if len(members) == 0 {
		return nil, nil
	}
	var kind string
	_ = json.Unmarshal(members["provider"], &kind) // none is refused below
	if len(members) > 1 || kind != "azure" {
		return nil, engines.Invalidf("provider_config: only {\"provider\": \"azure\"} is offered; any other provider that keeps to OpenID Connect needs no provider_config")
	}
	return engines.JoinObject(members)
}

// azure reports whether the provider is Microsoft's; earlier rows hold null for none.
func (c *config) azure() bool { return len(c.Provider) > 0 && string(c.Provider) != "null" }

// checkSource is about where the keys come from.
func (c *config) checkSource() error {
	sources := 0
	for _, given := range []bool{c.Issuer != "", c.JWKSURL != "", len(c.Keys) > 0} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		return engines.Invalidf("exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set")
	}
	if err := signed.CheckAlgorithms(c.Algorithms); err != nil {
		return engines.Invalidf("jwt_supported_algs: %s", err.Error())
	}
	for _, text := range c.Keys {
		if _, err := signed.ParsePEM(text); err != nil {
			return engines.Invalidf("jwt_validation_pubkeys: %s", err.Error())
		}
	}
	for name, address := range map[string]string{"jwks_url": c.JWKSURL, "oidc_discovery_url": c.Issuer} {
		if address == "" {
			continue
		}
		if err := upstream.CheckURL(address, ""); err != nil {
			return engines.Invalidf("%s: %s", name, err.Error())
		}
	}
	for name, text := range map[string]string{"jwks_ca_pem": c.JWKSCAs, "oidc_discovery_ca_pem": c.IssuerCAs} {
		if _, err := upstream.New(upstream.Options{CAs: text}); err != nil {
			return engines.Invalidf("%s: the certificates are not PEM, or too long", name)
		}
	}
	return nil
}

// checkFlow is about logins at a provider.
func (c *config) checkFlow() error {
	if c.DefaultRole != "" && !auth.Plain(c.DefaultRole) {
		return engines.Invalidf("default_role: it is not the name of a role")
	}
	if c.ClientSecret != "" && c.ClientID == "" || c.ClientID != "" && c.Issuer == "" {
		return engines.Invalidf("both 'oidc_client_id' and 'oidc_discovery_url' must be set for OIDC")
	}
	for _, t := range c.ResponseTypes {
		if t != typeCode && t != typeIDToken {
			return engines.Invalidf("invalid response_types %q: expected \"code\" or \"id_token\"", t)
		}
	}
	if len(c.ResponseTypes) > 1 {
		return engines.Invalidf("oidc_response_types: one of \"code\" and \"id_token\"")
	}
	if c.implicit() && c.ResponseMode != modeFormPost {
		return engines.Invalidf("response_mode must be 'form_post' if 'id_token' is the response_type")
	}
	return nil
}

// implicit reports whether the provider answers the browser with the token.
func (c *config) implicit() bool { return slices.Contains(c.ResponseTypes, typeIDToken) }

func readConfig(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, _, err := auth.LoadRow[config](tx, configRow)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, engines.NotFound()
	}
	provider := c.Provider
	if !c.azure() {
		provider = json.RawMessage("{}")
	}
	return &engines.Response{Data: map[string]any{
		"bound_issuer": c.BoundIssuer, "default_role": c.DefaultRole, "jwt_supported_algs": auth.Strings(c.Algorithms),
		"jwt_validation_pubkeys": auth.Strings(c.Keys), "jwks_url": c.JWKSURL, "jwks_ca_pem": c.JWKSCAs,
		"oidc_discovery_url": c.Issuer, "oidc_discovery_ca_pem": c.IssuerCAs, "override_allowed_server_names": auth.Strings(c.ServerNames),
		"oidc_client_id": c.ClientID, "oidc_response_mode": c.ResponseMode, "oidc_response_types": auth.Strings(c.ResponseTypes),
		"namespace_in_state": c.StateSpace, "provider_config": provider,
	}}, nil
}

// proveConfig fetches the keys once, so that a mistake is told to who makes it.
// What it finds stands in Request.Ahead as an error.
func (e *engine) proveConfig(_ context.Context, req *engines.Request, _ engines.Tx) (func(context.Context) (any, error), error) {
	c, err := configOf(req.Fields)
	if err != nil {
		return nil, err
	}
	p, err := newProvider(c, 0)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		defer p.client.Close()
		_, err := p.keys(ctx, "", req.Now)
		if err == nil || req.Fields.Bool("skip_jwks_validation") {
			return proof{err}, nil
		}
		what := "jwks URL"
		if c.Issuer != "" {
			what = "oidc discovery URL"
		}
		return nil, &engines.Error{Kind: engines.KindInvalid, Message: "error checking " + what + ": " + err.Error(), Cause: errors.Unwrap(err)}
	}, nil
}

// proof is how it went when the keys were fetched.
type proof struct{ failed error }

func writeConfig(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := configOf(req.Fields)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(c) //nolint:gosec // the row is sealed before it is stored
	if err != nil {
		return nil, engines.Internal(err)
	}
	key, err := tx.Get(keyRow)
	if err != nil {
		return nil, err
	}
	if key == nil {
		fresh := make([]byte, keyBytes)
		_, _ = rand.Read(fresh)
		if err := tx.Put(keyRow, fresh); err != nil {
			return nil, err
		}
	}
	// The version is what logins under way rest on: leave it if nothing changes.
	if old, err := tx.Get(configRow); err != nil || old != nil && bytes.Equal(old.Value, value) {
		return warned(req), err
	}
	return warned(req), tx.Put(configRow, value)
}

func warned(req *engines.Request) *engines.Response {
	if p, _ := req.Ahead.(proof); p.failed != nil {
		return &engines.Response{Warnings: []string{"the keys cannot be fetched now, so nobody can log in yet: " + p.failed.Error()}}
	}
	return nil
}
