package identity_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// trusting is a way to log in that believes everybody.
func trusting() *engines.Engine {
	return &engines.Engine{Type: "trusting", Class: engines.ClassAuth, Help: "Believes everybody.", Table: func(engines.Mount) (*engines.Table, error) {
		return &engines.Table{Help: "Believes everybody.", Routes: []engines.Route{{
			Pattern: "login/{name}", Help: "Log in.", Public: true,
			Fields: []engines.Field{
				{Name: "name", Type: engines.String, Help: "Who."}, {Name: "groups", Type: engines.Strings, Help: "Groups."},
				{Name: "meta", Type: engines.KVPairs, Help: "Metadata."},
			},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: func(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
				f := req.Fields
				return &engines.Response{Auth: &engines.Auth{
					DisplayName: f.String("name"), Alias: f.String("name"), AliasMetadata: f.KVPairs("meta"), Groups: f.Strings("groups"),
				}}, nil
			}}},
		}}}, nil
	}}
}

// started has the way to log in mounted at auth/who/ and secrets at secret/.
func started(t *testing.T) (s *kit.Server, accessor string) {
	t.Helper()
	s = kit.New(t, kit.Engines(trusting()))
	s.Put("sys/auth/who", body{"type": "trusting"})
	s.Mount("secret", "kv", nil)
	return s, s.Get("sys/auth/who").Text("data", "accessor")
}

type session struct{ token, entity string }

func login(t *testing.T, s *kit.Server, name string, b body) session {
	t.Helper()
	r := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/who/login/" + name, Token: kit.NoToken, Body: b})
	return session{r.Text("auth", "client_token"), r.Text("auth", "entity_id")}
}

// reads reports whether a session may read a path.
func (x session) reads(t *testing.T, s *kit.Server, path string) bool {
	t.Helper()
	r := s.Do(kit.Request{Path: path, Token: x.token})
	if r.Status != http.StatusOK && r.Status != http.StatusForbidden && r.Status != http.StatusNotFound {
		t.Fatalf("%s: answered %d %s", path, r.Status, r.Raw)
	}
	return r.Status != http.StatusForbidden
}

func refused(t *testing.T, s *kit.Server, method, path string, b body) {
	t.Helper()
	if r := s.Do(kit.Request{Method: method, Path: path, Body: b}); r.Status != http.StatusBadRequest {
		t.Errorf("%s %v: answered %d %s", path, b, r.Status, r.Raw)
	}
}
