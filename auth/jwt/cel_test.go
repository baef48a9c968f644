package jwt_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/auth/jwt"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

func TestPrograms(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	h := started(t, p, nil)
	resp := write(t, h, "cel/role/R", body{
		"bound_audiences": "coffer",
		"cel_program": body{
			"variables":  []body{{"name": "team", "expression": "claims.team"}},
			"expression": `team == "red" ? pb.Auth{policies: [team], display_name: claims.sub, alias: pb.Alias{name: claims.sub}, group_aliases: [pb.Alias{name: "g"}], lease_options: pb.LeaseOptions{TTL: 60000000000}} : "not of the team"`,
		},
	})
	if got := enginetest.Data(t, resp); got["name"] != "r" {
		t.Errorf("writing it answers %v", got)
	}
	try := func(change body) (*engines.Auth, error) {
		resp, err := h.Do(engines.Update, "cel/login", body{"role": "r", "jwt": p.sign(t, claims(h, change))}, nil)
		if err != nil {
			return nil, err
		}
		return resp.Auth, nil
	}
	no := func(text string, change body) {
		t.Helper()
		refuse(t, h, text, "cel/login", body{"role": "r", "jwt": p.sign(t, claims(h, change))})
	}
	auth, err := try(body{"team": "red"})
	if err != nil {
		t.Fatal(err)
	}
	if auth.Alias != "alice" || auth.Token.TTL != time.Minute || !reflect.DeepEqual(auth.Token.Policies, []string{"red"}) || !reflect.DeepEqual(auth.Groups, []string{"g"}) {
		t.Errorf("it gives %+v", auth)
	}
	no("not of the team", body{"team": "blue"})
	no("fails on this token: variable team", nil)
	no("aud claim does not match", body{"team": "red", "aud": "other"})
	no("token is expired", body{"team": "red", "exp": h.Now.Add(-time.Hour).Unix()})
	refuse(t, h, "not signed with a key", "cel/login", body{"role": "r", "jwt": newPair(t, "").sign(t, claims(h, body{"team": "red"}))})
	refuse(t, h, `"x" could not be found`, "cel/login", body{"role": "x", "jwt": "x"})
	refuse(t, h, "missing token", "cel/login", body{"role": "r"})

	if _, err := h.Do(engines.Patch, "cel/role/r", body{"message": "ask the red team"}, nil); err != nil {
		t.Fatal(err)
	}
	no("ask the red team", body{"team": "blue"})
	got := read(t, h, "cel/role/r")
	if got["message"] != "ask the red team" || !reflect.DeepEqual(got["bound_audiences"], []any{"coffer"}) || got["cel_program"].(map[string]any)["variables"] == nil {
		t.Errorf("it shows %v", got)
	}
	for text, c := range map[string]body{
		"missing required field":        {},
		"cel_program: expected":         {"cel_program": body{"expressions": "true"}},
		"cel_program: expression: it":   {"cel_program": body{}},
		"cel_program: expression: ERR":  {"cel_program": body{"expression": "claims."}},
		"cel_program: variable a: ERRO": {"cel_program": body{"expression": "true", "variables": []body{{"name": "a", "expression": "b"}}}},
	} {
		refuse(t, h, text, "cel/role/r", c)
	}
	for _, expression := range []string{"pb.Auth{num_uses: -1}", `pb.Auth{bound_cidrs: ["x"]}`, `pb.Auth{lease_options: pb.LeaseOptions{TTL: -1}}`} {
		write(t, h, "cel/role/bad", body{"bound_audiences": "coffer", "cel_program": body{"expression": expression}})
		refuse(t, h, "no login may have", "cel/login", body{"role": "bad", "jwt": p.sign(t, claims(h, nil))})
	}

	renewal := &engines.Renewal{Mount: h.Info, Now: h.Now, Private: auth.Private}
	if params, err := jwt.New().Renew(t.Context(), renewal, h.Store.Begin()); err != nil || params != nil {
		t.Errorf("renewing: %v %v", params, err)
	}
	if _, err := h.Do(engines.Delete, "cel/role/r", nil, nil); err != nil {
		t.Fatal(err)
	}
	if params, err := jwt.New().Renew(t.Context(), renewal, h.Store.Begin()); engines.KindOf(err) != engines.KindInvalid {
		t.Errorf("renewing without the role: %v %v", params, err)
	}
	if _, err := h.Do(engines.Patch, "cel/role/r", body{"message": "x"}, nil); engines.KindOf(err) != engines.KindNotFound {
		t.Errorf("patching nothing: %v", err)
	}
	listed, err := h.Do(engines.List, "cel/role", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if keys := enginetest.Data(t, listed)["keys"]; !reflect.DeepEqual(keys, []any{"bad"}) {
		t.Errorf("it lists %v", keys)
	}
}
