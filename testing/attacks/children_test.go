package attacks_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// family is a tree of tokens that grows at random.
type family struct {
	*node
	*rand.Rand
	clock   *kit.Clock
	paths   []string
	members []*member
	// alone is what each policy allows by itself.
	alone map[string]map[string][]string
}

// member is a token, with what made it.
type member struct {
	token, accessor string
	parent          *member
	policies        []string
	entity          string
}

const families, generations = 4, 40

// TestChildrenNeverExceedParents: whatever a token without sudo asks for, its
// child lives no longer, is nobody else, and may do nothing that none of its
// parent's policies allows. That it may do what another of these denied, when it
// leaves that one out, is how Vault has it: the child's policies are a subset.
func TestChildrenNeverExceedParents(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano()) // #nosec G115 -- any will do
	t.Logf("seed %d", seed)
	born := 0
	for i := range families {
		f := newFamily(t, rand.New(rand.NewPCG(seed, uint64(i)))) // #nosec G404 G115 -- a test's
		for range generations {
			f.step()
		}
		born += f.check()
	}
	if born == 0 {
		t.Error("nobody had a child")
	}
}

func newFamily(t *testing.T, random *rand.Rand) *family {
	t.Helper()
	clock := kit.NewClock()
	f := &family{node: serving(t, kit.At(clock)), Rand: random, clock: clock, alone: make(map[string]map[string][]string)}
	f.paths = []string{"kv/data/a", "kv/data/a/b", "kv/data/a/b/c", "kv/data/b", "kv/metadata/a/", "sys/mounts", "sys/policies/acl/x", "auth/token/create", "auth/token/create-orphan", "kv/", "other"}
	capabilities := []string{"create", "read", "update", "delete", "list", "patch", "deny"}
	for i := range 6 {
		var text strings.Builder
		text.WriteString("path \"auth/token/create\" { capabilities = [\"create\", \"update\"] }\n")
		for range 1 + f.IntN(4) {
			path := f.paths[f.IntN(7)]
			switch f.IntN(4) {
			case 0:
				path = path[:f.IntN(len(path))] + "*"
			case 1:
				path = strings.Replace(path, "data", "+", 1)
			}
			given := capabilities[f.IntN(len(capabilities)):]
			fmt.Fprintf(&text, "path %q { capabilities = [\"%s\"] }\n", path, strings.Join(given[:1+f.IntN(len(given))], "\", \""))
		}
		f.Policy(fmt.Sprint("p", i), text.String())
	}
	for i := range 6 {
		f.rights(fmt.Sprint("p", i))
	}
	f.rights("default")
	for range 3 {
		b := body{"policies": f.some([]string{"p0", "p1", "p2", "p3", "p4", "p5"}), "ttl": fmt.Sprint(1+f.IntN(10), "h"), "renewable": true}
		f.add(nil, f.Put("auth/token/create", b))
	}
	return f
}

// rights finds out what a policy allows by itself.
func (f *family) rights(name string) {
	f.t.Helper()
	token := f.token(body{"policies": name, "no_default_policy": true, "no_parent": true})
	f.alone[name] = f.capabilities(token)
}

func (f *family) capabilities(token string) map[string][]string {
	f.t.Helper()
	r := f.Put("sys/capabilities", body{"token": token, "paths": f.paths})
	out := make(map[string][]string)
	for _, path := range f.paths {
		out[path] = r.Strings("data", path)
	}
	return out
}

// some picks some of a list.
func (f *family) some(list []string) []string {
	var out []string
	for _, item := range list {
		if f.IntN(2) == 0 {
			out = append(out, item)
		}
	}
	if len(out) == 0 {
		out = append(out, list[f.IntN(len(list))])
	}
	return out
}

// asks is what a token may ask for of its child, allowed or not.
func (f *family) asks(of *member) body {
	b := body{}
	for name, values := range map[string][]any{
		"policies": {nil, f.some(of.policies), f.some([]string{"p0", "p1", "p2", "p3", "p4", "p5"}), "root", "default", "P1", ""},
		"ttl":      {nil, "1m", "30m", "5h", "500h", 0, "-1h"}, "explicit_max_ttl": {nil, nil, "1m", "500h"}, "period": {nil, nil, nil, "1h"},
		"type": {nil, nil, "service", "batch", "default"}, "num_uses": {nil, nil, nil, 0, 5, -1}, "no_parent": {nil, nil, nil, false, true},
		"no_default_policy": {nil, true}, "renewable": {nil, true, false}, "id": {nil, nil, nil, nil, "chosen"}, "entity_alias": {nil, nil, nil, nil, "somebody"},
		"display_name": {nil, "root"}, "meta": {nil, body{"a": "b"}},
	} {
		if v := values[f.IntN(len(values))]; v != nil {
			b[name] = v
		}
	}
	return b
}

func (f *family) add(parent *member, r *kit.Response) {
	m := &member{token: r.Text("auth", "client_token"), accessor: r.Text("auth", "accessor"), parent: parent, policies: r.Strings("auth", "policies"), entity: r.Text("auth", "entity_id")}
	f.members = append(f.members, m)
}

// step is something that happens to the family.
func (f *family) step() {
	f.t.Helper()
	m := f.members[f.IntN(len(f.members))]
	switch f.IntN(10) {
	case 0:
		f.clock.Advance(time.Duration(f.IntN(90)) * time.Minute)
	case 1:
		f.post(m.token, "auth/token/renew-self", body{"increment": "400h"})
	case 2:
		if m.accessor != "" && f.IntN(3) == 0 {
			f.post(f.Root, "auth/token/revoke-accessor", body{"accessor": m.accessor})
		}
	default:
		b := f.asks(m)
		r := f.post(m.token, "auth/token/create", b)
		if r.Status >= 500 {
			f.t.Fatalf("%v: %d %s", b, r.Status, r.Raw)
		}
		if r.Status == http.StatusOK {
			f.add(m, r)
			f.compare(f.members[len(f.members)-1], b)
		}
	}
}

// compare holds a new child to its parent.
func (f *family) compare(m *member, b body) {
	f.t.Helper()
	if m.entity != m.parent.entity || slices.Contains(m.policies, "root") {
		f.t.Errorf("%v gives the entity %q and the policies %q", b, m.entity, m.policies)
	}
	for _, name := range m.policies {
		if !slices.Contains(m.parent.policies, name) {
			f.t.Errorf("%v gives %q, which is none of %q", b, name, m.parent.policies)
		}
	}
	rights := f.capabilities(m.token)
	for path, list := range rights {
		for _, right := range list {
			if right == "deny" {
				continue
			}
			if !slices.ContainsFunc(m.parent.policies, func(name string) bool { return slices.Contains(f.alone[name][path], right) }) {
				f.t.Errorf("%v may %s %s, which none of %q allows", b, right, path, m.parent.policies)
			}
		}
	}
	if slices.Equal(m.policies, m.parent.policies) && !maps.EqualFunc(rights, f.capabilities(m.parent.token), slices.Equal[[]string]) {
		f.t.Errorf("%v has its parent's policies and other rights: %v", b, rights)
	}
}

// check looks for orphans: at any time, who is alive has a parent that is.
func (f *family) check() (born int) {
	f.t.Helper()
	for range 12 {
		alive := make(map[*member]bool)
		for _, m := range f.members {
			// Looking does not cost a use, as looking at oneself would.
			alive[m] = f.post(f.Root, "auth/token/lookup", body{"token": m.token}).Status == http.StatusOK
		}
		for _, m := range f.members {
			if m.parent == nil {
				continue
			}
			born++
			if alive[m] && !alive[m.parent] {
				f.t.Errorf("a token with %q has outlived its parent", m.policies)
			}
		}
		f.clock.Advance(time.Hour)
	}
	return born
}
