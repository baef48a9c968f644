package mfa_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"image/png"
	"net/http"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// trusting is a way to log in that believes everybody, and so is quick.
func trusting() *engines.Engine {
	return &engines.Engine{Type: "trusting", Class: engines.ClassAuth, Help: "Believes everybody.", Table: func(engines.Mount) (*engines.Table, error) {
		return &engines.Table{Help: "Believes everybody.", Routes: []engines.Route{{
			Pattern: "login/{name}", Help: "Log in.", Public: true,
			Fields: []engines.Field{{Name: "name", Type: engines.String, Help: "Who."}, {Name: "policies", Type: engines.Strings, Help: "Policies."}},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: func(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
				name := req.Fields.String("name")
				return &engines.Response{Auth: &engines.Auth{DisplayName: name, Alias: name, Policies: req.Fields.Strings("policies")}}, nil
			}}},
		}, {
			Pattern: "spoil", Help: "Make the rules unreadable.", Public: true,
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: func(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
				all := tx.(*state.Region).Tx() //nolint:forcetypeassert // the core's own
				return nil, all.Region(state.Prefix(state.Factors, state.RootNamespace)).Put("enforcement/x", []byte("{"))
			}}},
		}}}, nil
	}}
}

// scene is a server on which alice and bob log in, and a method.
type scene struct {
	*kit.Server
	t                *testing.T
	clock            *kit.Clock
	accessor, method string
	entities         map[string]string
	keys             map[string]*otp.Key
}

func started(t *testing.T) *scene {
	t.Helper()
	clock := kit.NewClock()
	s := &scene{Server: kit.New(t, kit.At(clock), kit.Engines(trusting())), t: t, clock: clock, entities: map[string]string{}, keys: map[string]*otp.Key{}}
	s.Put("sys/auth/who", body{"type": "trusting"})
	s.accessor = s.Get("sys/auth/who").Text("data", "accessor")
	s.method = s.Put("identity/mfa/method/totp", body{"issuer": "Coffer", "method_name": "phone"}).Text("data", "method_id")
	for _, name := range []string{"alice", "bob"} {
		s.entities[name] = s.login(name, nil).Text("auth", "entity_id")
		made := s.Put("identity/mfa/method/totp/admin-generate", body{"method_id": s.method, "entity_id": s.entities[name]})
		key, err := otp.NewKeyFromURL(made.Text("data", "url"))
		if err != nil {
			t.Fatal(err)
		}
		s.keys[name] = key
		picture, err := base64.StdEncoding.DecodeString(made.Text("data", "barcode"))
		if err != nil {
			t.Fatal(err)
		}
		if config, err := png.DecodeConfig(bytes.NewReader(picture)); err != nil || config.Width != 200 {
			t.Fatalf("the barcode is no picture of 200 pixels: %v", err)
		}
	}
	return s
}

// enforce asks logins for the method.
func (s *scene) enforce(target body) {
	s.t.Helper()
	target["mfa_method_ids"] = []string{s.method}
	s.Put("identity/mfa/login-enforcement/strict", target)
}

func (s *scene) login(name string, header http.Header) *kit.Response {
	s.t.Helper()
	return s.Do(kit.Request{
		Method: http.MethodPut, Path: "auth/who/login/" + name, Token: kit.NoToken, Header: header, Body: body{"policies": "own"},
	})
}

// waits logs in and returns the id of the login, which must wait.
func (s *scene) waits(name string) string {
	s.t.Helper()
	r := s.login(name, nil)
	id := r.Text("auth", "mfa_requirement", "mfa_request_id")
	if r.Status != http.StatusOK || id == "" || r.Text("auth", "client_token") != "" {
		s.t.Fatalf("the login of %s does not wait: %d %s", name, r.Status, r.Raw)
	}
	return id
}

// code is the passcode some periods from now, made by what the URL says.
func (s *scene) code(name string, periods int) string {
	s.t.Helper()
	key := s.keys[name]
	at := s.clock.Wall().Add(time.Duration(periods) * 30 * time.Second)
	code, err := totp.GenerateCodeCustom(key.Secret(), at, totp.ValidateOpts{
		Period: uint(key.Period()), Digits: key.Digits(), Algorithm: key.Algorithm(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return code
}

// wrong is a passcode that is not good now.
func (s *scene) wrong(name string) string {
	s.t.Helper()
	for _, code := range []string{"000000", "000001", "000002", "000003"} {
		if code != s.code(name, -1) && code != s.code(name, 0) && code != s.code(name, 1) {
			return code
		}
	}
	s.t.Fatal("all are good")
	return ""
}

func (s *scene) validate(id, passcode string) *kit.Response {
	s.t.Helper()
	return s.Do(kit.Request{Method: http.MethodPut, Path: "sys/mfa/validate", Token: kit.NoToken, Body: body{
		"mfa_request_id": id, "mfa_payload": body{s.method: []string{passcode}},
	}})
}

func (s *scene) good(r *kit.Response) {
	s.t.Helper()
	token := r.Text("auth", "client_token")
	if r.Status != http.StatusOK || token == "" {
		s.t.Fatalf("no token: %d %s", r.Status, r.Raw)
	}
	s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: token})
}
