package oidc

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// config is what holds for all identity tokens.
type config struct {
	Issuer string `json:"issuer"`
}

func (o *OIDC) configRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "oidc/config", Help: "Read and write the issuer of identity tokens.", Fields: []engines.Field{
			field("issuer", engines.String, "Scheme, host and port of the issuer's URL; the cluster's API address if empty."),
		}, Ops: []engines.Op{read(o.readConfig), update(o.writeConfig)}},
		{Pattern: "oidc/introspect", Help: "Tell whether an identity token is good.", Fields: []engines.Field{
			{Name: "token", Type: engines.String, Secret: true, Help: "The token."},
			field("client_id", engines.String, "Whom it has to be for; anybody if not given."),
		}, Ops: []engines.Op{op(engines.Update, engines.Reads, o.introspect)}},
		{Pattern: "oidc/.well-known/openid-configuration", Help: "Describe the issuer of identity tokens.", Public: true, Ops: []engines.Op{read(o.describeIssuer)}},
		{Pattern: "oidc/.well-known/keys", Help: "Publish the keys of identity tokens.", Public: true, Ops: []engines.Op{read(o.publishRoleKeys)}},
	}
}

func readConfig(tx *state.Tx) (*config, error) {
	c, err := load[config](region(tx), configPath)
	if c == nil {
		c = new(config)
	}
	return c, err
}

func (o *OIDC) tokenIssuer(tx *state.Tx) (string, error) {
	c, err := readConfig(tx)
	if err != nil {
		return "", err
	}
	return o.below(c.Issuer, "identity/oidc"), nil
}

func (o *OIDC) readConfig(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	c, err := readConfig(tx)
	if err != nil {
		return nil, err
	}
	return data(map[string]any{"issuer": c.Issuer}), nil
}

func (o *OIDC) writeConfig(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	c, err := readConfig(tx)
	if err != nil {
		return nil, err
	}
	if !req.Fields.Has("issuer") {
		return nil, nil
	}
	c.Issuer = req.Fields.String("issuer")
	if err := checkIssuer(c.Issuer); err != nil {
		return nil, err
	}
	if err := save(region(tx), configPath, c, state.PutOptions{}); err != nil {
		return nil, err
	}
	return &engines.Response{Warnings: []string{`If "issuer" is set explicitly, all tokens must be validated against that address, including those issued by secondary clusters. Setting issuer to "" will restore the default behavior of using the cluster's api_addr as the issuer.`}}, nil
}

func (o *OIDC) describeIssuer(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	issuer, err := o.tokenIssuer(tx)
	if err != nil {
		return nil, err
	}
	return describe(issuer)
}

// describe is what a verifier of identity tokens reads of their issuer (OpenID
// Connect Discovery, section 3).
func describe(issuer string) (*engines.Response, error) {
	return raw(200, map[string]any{
		"issuer": issuer, "jwks_uri": issuer + "/.well-known/keys", "id_token_signing_alg_values_supported": algorithms(),
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
	})
}

// roleKeys are the names of the keys that roles sign with.
func roleKeys(tx *state.Tx) (map[string]bool, error) {
	roles, err := all[Role](tx, roleDir)
	names := make(map[string]bool)
	for _, r := range roles {
		names[r.Key] = true
	}
	return names, err
}

// publish returns the public keys of named keys, and when they change first.
func publish(tx *state.Tx, names map[string]bool) (keys []jose.JSONWebKey, changes time.Time, err error) {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		k, err := keyByName(tx, name)
		if err != nil {
			return nil, changes, err
		}
		if k == nil {
			continue
		}
		list, err := k.published(tx.Now())
		if err != nil {
			return nil, changes, err
		}
		keys = append(keys, list...)
		if !k.Due.IsZero() && (changes.IsZero() || k.Due.Before(changes)) {
			changes = k.Due
		}
	}
	return keys, changes, nil
}

// keySet answers with a JWK set, which may be kept until its first rotation.
func keySet(tx *state.Tx, names map[string]bool) (*engines.Response, error) {
	keys, changes, err := publish(tx, names)
	if err != nil {
		return nil, err
	}
	if keys == nil {
		keys = []jose.JSONWebKey{}
	}
	resp, err := raw(200, jose.JSONWebKeySet{Keys: keys})
	if left := changes.Sub(tx.Now()); err == nil && len(keys) > 0 && left >= time.Second {
		resp.Headers = map[string]string{"Cache-Control": "max-age=" + strconv.FormatInt(int64(left/time.Second), 10)}
	}
	return resp, err
}

func (o *OIDC) publishRoleKeys(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	names, err := roleKeys(tx)
	if err != nil {
		return nil, err
	}
	return keySet(tx, names)
}

func inactive(why string) (*engines.Response, error) {
	return raw(200, map[string]any{"active": false, "error": why})
}

// introspect tells whether a token of a role's is good now.
func (o *OIDC) introspect(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	names, err := roleKeys(tx)
	if err != nil {
		return nil, err
	}
	keys, _, err := publish(tx, names)
	if err != nil {
		return nil, err
	}
	var claims jwt.Claims
	if !verify(req.Fields.String("token"), keys, &claims) {
		return inactive("unable to validate the token signature")
	}
	issuer, err := o.tokenIssuer(tx)
	if err != nil {
		return nil, err
	}
	expected := jwt.Expected{Issuer: issuer, Time: req.Now}
	if id := req.Fields.String("client_id"); id != "" {
		expected.AnyAudience = jwt.Audience{id}
	}
	if claims.Expiry == nil || claims.ValidateWithLeeway(expected, 0) != nil {
		return inactive("error validating claims")
	}
	_, err = o.Identity.Holder(tx, claims.Subject)
	switch {
	case engines.KindOf(err) == engines.KindDenied:
		return inactive("entity was not found or is disabled")
	case err != nil:
		return nil, err
	}
	return raw(200, map[string]any{"active": true})
}
