package attacks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// odd is a way to log in that believes everybody, or does what no way should.
func odd(class engines.Class) *engines.Engine {
	return &engines.Engine{Type: "odd", Class: class, Help: "Does what it is told.", Table: func(engines.Mount) (*engines.Table, error) {
		return &engines.Table{Help: "Does what it is told.", Routes: []engines.Route{{
			Pattern: "login/{name}", Help: "Log in.", Public: true,
			Fields: []engines.Field{
				{Name: "name", Type: engines.String, Help: "Who."}, {Name: "how", Type: engines.String, Help: "What goes wrong."},
				{Name: "meta", Type: engines.KVPairs, Help: "Metadata."}, {Name: "policies", Type: engines.Strings, Help: "Policies."},
			},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: oddLogin}},
		}}}, nil
	}}
}

func oddLogin(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	f := req.Fields
	resp := &engines.Response{Auth: &engines.Auth{
		DisplayName: f.String("name"), Alias: f.String("name"), AliasMetadata: f.KVPairs("meta"), Policies: f.Strings("policies"),
	}}
	switch f.String("how") {
	case "refused":
		return resp, engines.Invalidf("no")
	case "kept":
		return resp, &engines.Error{Kind: engines.KindInvalid, Message: "no", Keep: true}
	case "denied":
		return resp, engines.Errorf(engines.KindDenied, "permission denied")
	case "failed":
		return resp, errOdd
	case "panicked":
		panic(canary)
	case "raw":
		resp.Raw = &engines.Raw{Body: []byte("raw")}
	case "unhinged":
		resp.Auth.Token.BoundCIDRs = []string{"not an address"}
	case "elsewhere":
		resp.Auth.Token.BoundCIDRs = []string{"192.0.2.0/24"}
	case "typed":
		resp.Auth.Token.Type = "golden"
	}
	return resp, nil
}

var errOdd = errors.New("told to the log only")

// TestAttack49LoginsThatFail: a login that fails gives no token, whatever its
// handler returned beside the error, and who is no way to log in gives none.
func TestAttack49LoginsThatFail(t *testing.T) {
	t.Parallel()
	n := serving(t, kit.Engines(odd(engines.ClassAuth)))
	n.Put("sys/auth/odd", body{"type": "odd"})
	for how, status := range map[string]int{
		"refused": 400, "kept": 400, "denied": 403, "failed": 500, "panicked": 500, "unhinged": 400, "elsewhere": 403, "typed": 400,
	} {
		n.untouched(how, func() {
			r := n.post(kit.NoToken, "auth/odd/login/eve", body{"how": how})
			if r.Status != status || r.At("auth") != nil || strings.Contains(string(r.Raw), "cfs.") ||
				strings.Contains(string(r.Raw), canary) || strings.Contains(string(r.Raw), errOdd.Error()) {
				t.Errorf("%s: %d %s", how, r.Status, r.Raw)
			}
		})
	}
	if r := n.post(kit.NoToken, "auth/odd/login/eve", body{"how": "raw"}); strings.Contains(string(r.Raw), "cfs.") {
		t.Errorf("raw: %d %s", r.Status, r.Raw)
	}
	for _, policies := range []string{"root", "ROOT", " root ", "a,Root"} {
		n.untouched(policies, func() {
			n.expect(policies, n.post(kit.NoToken, "auth/odd/login/eve", body{"policies": policies}), 400, "root")
		})
	}
	if strings.Contains(n.Log(), canary) {
		t.Error("the log tells what the handler panicked with")
	}
	m := serving(t, kit.Engines(odd(engines.ClassSecret)))
	m.Mount("odd", "odd", nil)
	m.untouched("a secrets engine", func() {
		if r := m.post(kit.NoToken, "odd/login/eve", nil); r.Status != http.StatusInternalServerError || r.At("auth") != nil {
			t.Errorf("a secrets engine vouches: %d %s", r.Status, r.Raw)
		}
	})
}

// session is somebody who has logged in.
type session struct{ token, entity string }

// believed is a node on which everybody may log in as anybody.
func believed(t testing.TB) (n *node, accessor string) {
	t.Helper()
	n = serving(t, kit.Engines(odd(engines.ClassAuth)))
	n.Put("sys/auth/odd", body{"type": "odd"})
	n.Put("sys/auth/even", body{"type": "odd"})
	n.Mount("secret", "kv", nil)
	return n, n.Get("sys/auth").Text("data", "odd/", "accessor")
}

func (n *node) as(mount, name string, b body) session {
	n.t.Helper()
	r := n.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/" + mount + "/login/" + url.PathEscape(name), Token: kit.NoToken, Body: b})
	return session{r.Text("auth", "client_token"), r.Text("auth", "entity_id")}
}

// TestAttack50Merging: nobody gets another's policies by an alias, by a name
// that looks like another's, or by a merge.
func TestAttack50Merging(t *testing.T) {
	t.Parallel()
	n, accessor := believed(t)
	n.Policy("rich", `path "secret/rich" { capabilities = ["read", "update"] }`)
	victim, eve := n.as("odd", "victim", nil), n.as("odd", "eve", nil)
	n.Put("identity/entity/id/"+victim.entity, body{"policies": "rich", "name": "victim"})
	reads := func(s session) bool {
		return n.Do(kit.Request{Path: "secret/rich", Token: s.token}).Status != http.StatusForbidden
	}
	if !reads(victim) || reads(eve) {
		t.Fatal("the policy is not the victim's alone")
	}
	for path, b := range map[string]body{
		"identity/entity/merge":                  {"from_entity_ids": victim.entity, "to_entity_id": eve.entity},
		"identity/entity-alias":                  {"name": "eve", "mount_accessor": accessor, "canonical_id": victim.entity},
		"identity/entity":                        {"id": eve.entity, "policies": "rich"},
		"identity/entity/id/" + eve.entity:       {"policies": "rich"},
		"identity/entity/name/victim":            {"metadata": body{"a": "b"}},
		"identity/group":                         {"name": "g", "policies": "rich", "member_entity_ids": eve.entity},
		"identity/entity/batch-delete":           {"entity_ids": victim.entity},
		"identity/lookup/entity":                 {"id": victim.entity},
		"identity/mfa/method/totp/admin-destroy": {"entity_id": victim.entity},
	} {
		n.untouched(path, func() { n.expect(path, n.post(eve.token, path, b), 403, "permission denied") })
	}
	// Nor may one who may write it all make two callers of a mount one by mistake.
	for what, b := range map[string]body{
		"an alias beside the one there is": {"name": "second", "mount_accessor": accessor, "canonical_id": victim.entity},
		"another's name":                   {"id": n.aliasOf(eve), "name": " VICTIM "},
		"an entity that is not there":      {"name": "eve", "mount_accessor": accessor, "canonical_id": "none"},
		"the way of tokens":                {"name": "x", "mount_accessor": n.Get("sys/auth").Text("data", "token/", "accessor")},
	} {
		n.untouched(what, func() { n.expect(what, n.post(n.Root, "identity/entity-alias", b), 400, "") })
	}
	n.untouched("a merge of two at one mount", func() {
		n.expect("a merge of two at one mount", n.post(n.Root, "identity/entity/merge", body{"from_entity_ids": victim.entity, "to_entity_id": eve.entity}), 400, "conflicting_alias_ids_to_keep")
		n.expect("a merge into itself", n.post(n.Root, "identity/entity/merge", body{"from_entity_ids": eve.entity, "to_entity_id": eve.entity}), 400, "")
	})
	// A name in another form, or elsewhere, is somebody else's.
	for _, name := range []string{"v\u0456ctim", "victim\u200b", "\uff56ictim", "victim.", "victim@odd"} {
		if reads(n.as("odd", name, nil)) {
			t.Errorf("%q has the victim's policies", name)
		}
	}
	if reads(n.as("even", "victim", nil)) {
		t.Error("the same name at another mount has the victim's policies")
	}
	if !reads(n.as("odd", "VICTIM", nil)) {
		t.Error("the victim's name in capitals is somebody else's")
	}
	// After a merge that was meant, the token of who is gone is good for nothing.
	other := n.as("even", "other", nil)
	n.Put("identity/entity/merge", body{"from_entity_ids": other.entity, "to_entity_id": victim.entity})
	if reads(other) || n.Do(kit.Request{Path: "cubbyhole/x", Token: other.token}).Status != http.StatusForbidden {
		t.Error("the token of an entity that was merged is alive")
	}
}

func (n *node) aliasOf(s session) string {
	n.t.Helper()
	list, _ := n.Get("identity/entity/id/"+s.entity).At("data", "aliases").([]any)
	if len(list) != 1 {
		n.t.Fatalf("the entity has %d aliases", len(list))
	}
	alias, _ := list[0].(map[string]any)
	id, _ := alias["id"].(string)
	return id
}

// TestAttack51RootByAnotherName: nothing but a root token makes one, in any
// spelling, by any way that gives policies.
func TestAttack51RootByAnotherName(t *testing.T) {
	t.Parallel()
	n, _ := believed(t)
	for _, way := range []string{"userpass", "approle", "jwt", "cert", "kubernetes"} {
		n.Put("sys/auth/"+way, body{"type": way})
	}
	ca := authority(t, "CA")
	n.Policy("maker", `path "auth/token/*" { capabilities = ["create", "update", "sudo"] }`)
	maker := n.token(body{"policies": "maker"})
	eve := n.as("odd", "eve", nil)
	for _, name := range []string{"root", "ROOT", "Root ", "\troot", "x,RooT"} {
		for _, c := range []struct {
			path string
			body body
		}{
			{"identity/entity", body{"name": "x", "policies": name}},
			{"identity/entity/id/" + eve.entity, body{"policies": name}},
			{"identity/group", body{"name": "g", "policies": name}},
			{"identity/group", body{"name": "g", "type": "external", "policies": "a," + name}},
			{"auth/userpass/users/x", body{"password": "p", "token_policies": name}},
			{"auth/userpass/users/x", body{"password": "p", "policies": name}},
			{"auth/approle/role/x", body{"token_policies": name}},
			{"auth/cert/certs/x", body{"certificate": ca.pem(), "token_policies": name}},
			{"auth/jwt/role/x", body{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "a", "token_policies": name}},
			{"auth/kubernetes/role/x", body{"bound_service_account_names": "a", "bound_service_account_namespaces": "b", "token_policies": name}},
		} {
			n.untouched(c.path+" with "+name, func() {
				r := n.post(n.Root, c.path, c.body)
				if r.Status != http.StatusBadRequest {
					t.Errorf("%s with %q: %d %s", c.path, name, r.Status, r.Raw)
				}
			})
		}
		for _, path := range []string{"auth/token/create", "auth/token/create-orphan"} {
			n.untouched(path+" with "+name, func() {
				n.expect(path+" with "+name, n.post(maker, path, body{"policies": name}), 400, "")
			})
		}
	}
	// A role lets nobody have what it names by a glob.
	n.Put("auth/token/roles/any", body{"allowed_policies_glob": "*", "allowed_policies": "maker"})
	n.untouched("a role for all", func() {
		n.expect("a role for all", n.post(maker, "auth/token/create/any", body{"policies": "Root"}), 400, "root")
	})
}

// TestAttack52Templates: what a caller has in his metadata is a name in a path,
// and nothing that policy understands.
func TestAttack52Templates(t *testing.T) {
	t.Parallel()
	n, accessor := believed(t)
	n.Policy("team", fmt.Sprintf(`
path "secret/team/{{identity.entity.aliases.%[1]s.metadata.team}}/*" { capabilities = ["read", "list"] }
path "secret/flat/{{identity.entity.aliases.%[1]s.metadata.team}}" { capabilities = ["read"] }
path "secret/named/{{identity.entity.metadata.team}}" { capabilities = ["read"] }`, accessor))
	for _, path := range []string{"team/red/x", "team/blue/x", "team/red/x/y", "flat/red", "flat/red/x", "named/red", "other"} {
		n.Put("secret/"+path, body{"v": canary})
	}
	entity := n.as("odd", "eve", body{"meta": body{"team": "red"}}).entity
	n.Put("identity/entity/id/"+entity, body{"policies": "team"})
	reads := func(s session, path string) bool {
		return n.Do(kit.Request{Path: path, Token: s.token}).Status == http.StatusOK
	}
	if eve := n.as("odd", "eve", body{"meta": body{"team": "red"}}); !reads(eve, "secret/team/red/x") || reads(eve, "secret/team/blue/x") {
		t.Fatal("the template is not filled")
	}
	for _, value := range []string{
		"*", "+", "r*", "red/*", "red/", "/red", "red/x", "..", ".", "", "../other", "red\" { capabilities = [\"sudo\"] }\npath \"*",
		"{{identity.entity.id}}", "{{", "}}", "%2a", "red,blue", "red\n", "red\x00", "RED", "red ", "r\u0435d", strings.Repeat("red", 1000),
	} {
		r := n.Do(kit.Request{Method: http.MethodPut, Path: "auth/odd/login/eve", Token: kit.NoToken, Body: body{"meta": body{"team": value}}})
		if r.Status/100 == 4 {
			continue // it is not even taken
		}
		eve := session{token: r.Text("auth", "client_token")}
		named := n.post(n.Root, "identity/entity/id/"+entity, body{"metadata": body{"team": value}})
		if named.Status >= 500 || eve.token == "" {
			t.Errorf("%q: %d %s", value, named.Status, named.Raw)
		}
		for _, path := range []string{"team/red/x", "team/blue/x", "team/red/x/y", "flat/red", "flat/red/x", "named/red", "other"} {
			if reads(eve, "secret/"+path) {
				t.Errorf("with %q reads %s", value, path)
			}
		}
		for _, path := range []string{"secret/", "secret/team/", "secret/team/red/", "secret/team/blue/", "sys/mounts/"} {
			if r := n.Do(kit.Request{Method: "LIST", Path: path, Token: eve.token}); r.Status != http.StatusForbidden {
				t.Errorf("with %q lists %s: %d %s", value, path, r.Status, r.Raw)
			}
		}
		if n.post(eve.token, "sys/seal", nil).Status != http.StatusForbidden {
			t.Fatalf("with %q seals", value)
		}
	}
}
