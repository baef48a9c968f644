package identity_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestOneEntityAnAlias: who logs in again is the same, however the name is
// spelled, and somebody else is not.
func TestOneEntityAnAlias(t *testing.T) {
	t.Parallel()
	s, accessor := started(t)
	first := login(t, s, "alice", nil)
	for _, name := range []string{"alice", "Alice", "ALICE"} {
		if again := login(t, s, name, nil); again.entity != first.entity {
			t.Errorf("%q is another entity", name)
		}
	}
	if login(t, s, "bob", nil).entity == first.entity {
		t.Error("two callers are one entity")
	}
	r := s.Put("identity/lookup/entity", body{"alias_name": "aLiCe", "alias_mount_accessor": accessor})
	if r.Text("data", "id") != first.entity {
		t.Errorf("looked up %s", r.Raw)
	}
	if keys := s.List("identity/entity/id").Strings("data", "keys"); len(keys) != 2 || !slices.Contains(keys, first.entity) {
		t.Errorf("entities %v", keys)
	}
}

// TestPoliciesOfIdentity: a change of the entity or of its groups holds for the
// next request of a token that is out already.
func TestPoliciesOfIdentity(t *testing.T) {
	t.Parallel()
	s, _ := started(t)
	s.Policy("a", `path "secret/a" { capabilities = ["read"] }`)
	s.Policy("b", `path "secret/b" { capabilities = ["read"] }`)
	alice := login(t, s, "alice", nil)
	if alice.reads(t, s, "secret/a") {
		t.Error("allowed without a policy")
	}
	s.Put("identity/entity/id/"+alice.entity, body{"policies": "a"})
	if !alice.reads(t, s, "secret/a") || alice.reads(t, s, "secret/b") {
		t.Error("the entity's policy does not count")
	}
	inner := s.Put("identity/group", body{"name": "inner", "member_entity_ids": []string{alice.entity}}).Text("data", "id")
	s.Put("identity/group", body{"name": "outer", "policies": "b", "member_group_ids": []string{inner}})
	if !alice.reads(t, s, "secret/b") {
		t.Error("the policy of a group of groups does not count")
	}
	refused(t, s, http.MethodPut, "identity/group/name/inner", body{"member_group_ids": []string{s.Get("identity/group/name/outer").Text("data", "id")}})
	s.Delete("identity/group/name/inner")
	if alice.reads(t, s, "secret/b") {
		t.Error("a group that is gone still counts")
	}
	s.Put("identity/entity/id/"+alice.entity, body{"disabled": true})
	if alice.reads(t, s, "secret/a") {
		t.Error("a disabled entity may still read")
	}
	s.Put("identity/entity/id/"+alice.entity, body{"disabled": false})
	if !alice.reads(t, s, "secret/a") {
		t.Error("an enabled entity may not read")
	}
	s.Delete("identity/entity/id/" + alice.entity)
	if alice.reads(t, s, "secret/a") {
		t.Error("the token of an entity that is gone may still read")
	}
}

// TestExternalGroups: the members are those whose last login named the group.
func TestExternalGroups(t *testing.T) {
	t.Parallel()
	s, accessor := started(t)
	s.Policy("team", `path "secret/team" { capabilities = ["read"] }`)
	id := s.Put("identity/group", body{"name": "team", "type": "external", "policies": "team"}).Text("data", "id")
	refused(t, s, http.MethodPut, "identity/group/name/team", body{"member_entity_ids": []string{}})
	s.Put("identity/group-alias", body{"name": "devs", "mount_accessor": accessor, "canonical_id": id})
	alice := login(t, s, "alice", body{"groups": "devs,unknown"})
	if !alice.reads(t, s, "secret/team") {
		t.Error("a member may not read")
	}
	login(t, s, "alice", nil)
	if alice.reads(t, s, "secret/team") { // which also caches what she is now
		t.Error("who left the group may still read")
	}
	again := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/who/login/alice", Token: kit.NoToken, Body: body{"groups": "devs"}})
	if got := again.Strings("auth", "identity_policies"); !slices.Equal(got, []string{"team"}) {
		t.Errorf("the login tells of the policies %q", got)
	}
	if login(t, s, "bob", body{"groups": "unknown"}).reads(t, s, "secret/team") {
		t.Error("a stranger may read")
	}
	login(t, s, "alice", nil)
	if alice.reads(t, s, "secret/team") {
		t.Error("who left the group may still read")
	}
}

// TestTemplates: what a name holds is one literal segment.
func TestTemplates(t *testing.T) {
	t.Parallel()
	s, accessor := started(t)
	s.Policy("own", `path "secret/own/{{identity.entity.aliases.`+accessor+`.name}}" { capabilities = ["read"] }
path "secret/meta/{{identity.entity.aliases.`+accessor+`.metadata.team}}/*" { capabilities = ["read"] }`)
	alice := login(t, s, "alice", body{"meta": body{"team": "red"}})
	s.Put("identity/entity/id/"+alice.entity, body{"policies": "own"})
	for path, want := range map[string]bool{
		"secret/own/alice": true, "secret/meta/red/x": true, "secret/own/bob": false, "secret/meta/blue/x": false, "secret/meta/red": false,
	} {
		if alice.reads(t, s, path) != want {
			t.Errorf("alice and %s: want %v", path, want)
		}
	}
	for _, name := range []string{"+", "al*"} {
		other := login(t, s, name, body{"meta": body{"team": "*"}})
		s.Put("identity/entity/id/"+other.entity, body{"policies": "own"})
		for _, path := range []string{"secret/own/alice", "secret/own/x", "secret/meta/red/x"} {
			if other.reads(t, s, path) {
				t.Errorf("%q reads %s", name, path)
			}
		}
	}
	slash := login(t, s, "slash", body{"meta": body{"team": "red/x"}})
	s.Put("identity/entity/id/"+slash.entity, body{"policies": "own"})
	if slash.reads(t, s, "secret/meta/red/x/y") {
		t.Error("a slash in metadata begins a new segment")
	}
}

// TestMerge: what was allowed to either is allowed to the one that stays, and
// tokens of the other are dead.
func TestMerge(t *testing.T) {
	t.Parallel()
	s, _ := started(t)
	s.Policy("a", `path "secret/a" { capabilities = ["read"] }`)
	s.Put("sys/auth/too", body{"type": "trusting"})
	alice := login(t, s, "alice", nil)
	r := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/too/login/al", Token: kit.NoToken})
	al := session{r.Text("auth", "client_token"), r.Text("auth", "entity_id")}
	s.Put("identity/entity/id/"+al.entity, body{"policies": "a"})
	s.Put("identity/entity/merge", body{"from_entity_ids": al.entity, "to_entity_id": alice.entity})
	if !alice.reads(t, s, "secret/a") {
		t.Error("the merged entity's policy is lost")
	}
	if al.reads(t, s, "secret/a") {
		t.Error("the token of the merged entity may still read")
	}
	again := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "auth/too/login/al", Token: kit.NoToken})
	if again.Text("auth", "entity_id") != alice.entity {
		t.Error("the merged alias leads elsewhere")
	}
	bob := login(t, s, "bob", nil)
	refused(t, s, http.MethodPut, "identity/entity/merge", body{"from_entity_ids": bob.entity, "to_entity_id": alice.entity})
	if login(t, s, "bob", nil).entity != bob.entity {
		t.Error("a merge that was refused changed something")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s, accessor := started(t)
	s.Put("identity/entity", body{"name": "Taken"})
	for _, c := range []struct {
		path string
		body body
	}{
		{"identity/entity", body{"name": "x", "policies": "Root "}},
		{"identity/entity", body{"name": "a\x01b"}},
		{"identity/entity", body{"id": "no-such", "name": "x"}},
		{"identity/group", body{"name": "g", "policies": "ROOT"}},
		{"identity/group", body{"name": "g", "type": "strange"}},
		{"identity/group", body{"name": "g", "member_entity_ids": "nobody"}},
		{"identity/entity-alias", body{"name": "x", "mount_accessor": "none"}},
		{"identity/entity-alias", body{"name": "", "mount_accessor": accessor}},
		{"identity/group-alias", body{"name": "x", "mount_accessor": accessor, "canonical_id": "none"}},
		{"identity/entity/merge", body{"from_entity_ids": "x", "to_entity_id": "y"}},
		{"identity/lookup/entity", body{}},
	} {
		before := s.Index()
		refused(t, s, http.MethodPut, c.path, c.body)
		if s.Index() != before {
			t.Errorf("%s %v changed something", c.path, c.body)
		}
	}
	id := s.Put("identity/entity", body{"name": "other"}).Text("data", "id")
	refused(t, s, http.MethodPut, "identity/entity/id/"+id, body{"name": " tAKEN "})
}
