package oidc_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// vouched is an engine that tells its own token, as if others asked for it.
func vouched() *engines.Engine {
	return &engines.Engine{Type: "vouched", Class: engines.ClassSecret, Help: "Tells its token.", Table: func(engines.Mount) (*engines.Table, error) {
		return &engines.Table{Help: "Tells its token.", Routes: []engines.Route{{
			Pattern: "token", Help: "Tell it.", Fields: []engines.Field{{Name: "ttl", Type: engines.Seconds, Query: true, Help: "How long it is good."}},
			Ops: []engines.Op{{
				Do: engines.Read, Help: "Tell it.",
				Ahead: func(_ context.Context, req *engines.Request, _ engines.Tx) (func(ctx context.Context) (any, error), error) {
					return func(ctx context.Context) (any, error) {
						return req.Mount.Token(ctx, "someone", req.Fields.Duration("ttl"))
					}, nil
				},
				Handler: func(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
					return &engines.Response{Data: map[string]any{"token": req.Ahead}}, nil
				},
			}},
		}}}, nil
	}}
}

// TestMountTokens: others verify the token of a mount with what is published, also
// after a rotation.
func TestMountTokens(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock), kit.Engines(vouched()))
	s.Mount("m", "vouched", nil)
	s.Put("identity/oidc/config", body{"issuer": s.URL})
	accessor := s.Get("sys/mounts/m").Text("data", "accessor")
	issuer := s.URL + "/v1/identity/oidc/plugins"
	public := func(path string, into any) {
		t.Helper()
		r := s.Must(http.StatusOK, kit.Request{Path: "identity/oidc/plugins/.well-known/" + path, Token: kit.NoToken})
		if err := json.Unmarshal(r.Raw, into); err != nil {
			t.Fatal(err)
		}
	}
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	public("openid-configuration", &about)
	if about.Issuer != issuer || about.Keys != issuer+"/.well-known/keys" {
		t.Errorf("the issuer is described as %+v", about)
	}
	first := s.Get("m/token?ttl=10m").Text("data", "token")
	for range 2 {
		var keys jose.JSONWebKeySet
		public("keys", &keys)
		token, err := jwt.ParseSigned(first, []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Fatal(err)
		}
		var claims jwt.Claims
		if err := token.Claims(keys, &claims); err != nil {
			t.Fatalf("it does not verify: %v", err)
		}
		err = claims.Validate(jwt.Expected{Issuer: issuer, Subject: "plugin-identity:root:secret:" + accessor, AnyAudience: jwt.Audience{"someone"}, Time: clock.Wall()})
		if err != nil || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) != 10*time.Minute {
			t.Errorf("the claims are %+v: %v", claims, err)
		}
		s.Put("identity/oidc/key/default/rotate", nil)
	}
	if r := s.Do(kit.Request{Path: "m/token?ttl=48h"}); r.Status != http.StatusBadRequest {
		t.Errorf("a token that outlives its key: %d %s", r.Status, r.Raw)
	}
}
