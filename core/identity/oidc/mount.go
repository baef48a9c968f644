package oidc

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// mountsDir is below identity/ where the issuer of mounts' tokens is. Its name, and
// the form of subjects, are what trust policies of clouds are written with.
const mountsDir = "oidc/plugins"

// MountClaims say whose token it is, whom it is for, and how long it is good.
type MountClaims struct {
	Class    engines.Class
	Accessor string
	Audience string
	TTL      time.Duration
}

func (o *OIDC) mountRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: mountsDir + "/.well-known/openid-configuration", Help: "Describe the issuer of the tokens of mounts.", Public: true, Ops: []engines.Op{read(o.describeMounts)}},
		{Pattern: mountsDir + "/.well-known/keys", Help: "Publish the keys of the tokens of mounts.", Public: true, Ops: []engines.Op{read(publishMountKeys)}},
	}
}

func (o *OIDC) mountIssuer(tx *state.Tx) (string, error) {
	c, err := readConfig(tx)
	if err != nil {
		return "", err
	}
	return o.below(c.Issuer, "identity/"+mountsDir), nil
}

func (o *OIDC) describeMounts(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	issuer, err := o.mountIssuer(tx)
	if err != nil {
		return nil, err
	}
	return describe(issuer)
}

func publishMountKeys(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return keySet(tx, map[string]bool{defaultName: true})
}

// MountToken makes a token of a mount, signed with the default key. It begins a
// transaction of its own.
func (o *OIDC) MountToken(ctx context.Context, store *state.Store, m MountClaims) (token string, err error) {
	sign := func(tx *state.Tx, k *Key) error {
		if m.TTL > k.Verification {
			return engines.Invalidf("the token cannot be good for longer than the verification_ttl of identity/oidc/key/%s, which is %s", defaultName, k.Verification)
		}
		issuer, err := o.mountIssuer(tx)
		if err != nil {
			return err
		}
		now := tx.Now()
		token, err = k.sign(map[string]any{
			"iss": issuer, "sub": "plugin-identity:root:" + string(m.Class) + ":" + m.Accessor, "aud": []string{m.Audience},
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(m.TTL).Unix(),
		})
		return err
	}
	err = store.Local(func(tx *state.Tx) error {
		k, err := keyByName(tx, defaultName)
		if err != nil || k.Current == nil {
			return err
		}
		return sign(tx, k)
	})
	if err != nil || token != "" {
		return token, err
	}
	_, err = store.Update(ctx, func(tx *state.Tx) error { // it is the first
		k, err := usableKey(tx, defaultName)
		if err != nil {
			return err
		}
		return sign(tx, k)
	})
	return token, err
}
