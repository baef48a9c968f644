package schema_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

func explained(t *testing.T) *schema.Compiled {
	t.Helper()
	r := route("roles/{name}",
		engines.Field{Name: "ttl", Type: engines.Seconds, Help: "How long.", Default: time.Hour},
		engines.Field{Name: "kind", Help: "Which kind.", Allowed: []string{"x", "y"}, Required: true},
		engines.Field{Name: "pin", Help: "Secret pin.", Secret: true, Deprecated: true},
		engines.Field{Name: "limit", Type: engines.Int, Help: "How many.", Query: true})
	r.Description = "All about roles."
	r.Ops = append(r.Ops, engines.Op{Do: engines.Update, Trait: engines.Writes, Handler: handler, Help: "Write a role."},
		engines.Op{Do: engines.Patch, Trait: engines.Writes, Handler: handler})
	list := route("roles/{path...?}")
	list.Ops = []engines.Op{{Do: engines.List, Handler: handler, Help: "List roles."}}
	return compile(t, r, list)
}

func TestHelp(t *testing.T) {
	t.Parallel()
	c := explained(t)
	for path, wants := range map[string][]string{
		"":        {"Help of the mount", "    roles/{name}\n        Help of roles/{name}\n"},
		"roles/a": {"Request:        roles/a\nMatching Route: roles/{name}\n", "All about roles.", "kind (string, required, one of x, y)\n        Which kind.", "ttl (seconds, default 1h0m0s)", "pin (string, deprecated)", "update   Write a role."},
		"roles/":  {"Matching Route: roles/{path...?}", "list     List roles."},
	} {
		help, ok := schema.Help(c, path)
		text, isText := help["help"].(string)
		if !ok || !isText || help["openapi"] == nil {
			t.Fatalf("%q: %v", path, help)
		}
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("help of %q lacks %q:\n%s", path, want, text)
			}
		}
	}
	if _, ok := schema.Help(c, "other"); ok {
		t.Error("explains a path that does not exist")
	}
}

// The parts of an OpenAPI document that are looked at.
type parameter struct{ Name, In string }

type operation struct {
	Parameters  []parameter
	RequestBody struct {
		Content map[string]struct {
			Schema struct {
				Required   []string
				Properties map[string]map[string]any
			}
		}
	}
}

type pathItem struct {
	Parameters       []parameter
	Get, Post, Patch *operation
}

func describe(t *testing.T) map[string]pathItem {
	t.Helper()
	text, err := json.Marshal(schema.OpenAPI("aws/", explained(t).Table()))
	if err != nil {
		t.Fatal(err)
	}
	var paths map[string]pathItem
	if err := json.Unmarshal(text, &paths); err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	paths := describe(t)
	role := paths["/aws/roles/{name}"]
	if len(role.Parameters) != 1 || role.Parameters[0] != (parameter{"name", "path"}) || role.Get == nil || role.Post == nil || role.Patch == nil {
		t.Fatalf("role %+v", role)
	}
	body := role.Post.RequestBody.Content["application/json"].Schema
	if strings.Join(body.Required, " ") != "kind" || body.Properties["ttl"]["default"] != "1h0m0s" {
		t.Errorf("body %+v", body)
	}
	if patch, ok := role.Patch.RequestBody.Content["application/merge-patch+json"]; !ok || len(patch.Schema.Required) != 0 {
		t.Errorf("patch %+v", role.Patch)
	}
	if len(body.Properties) != 3 || body.Properties["limit"] != nil {
		t.Errorf("properties %+v", body.Properties)
	}
	if len(role.Get.Parameters) != 4 || len(role.Post.Parameters) != 1 {
		t.Errorf("query of get %+v, of post %+v", role.Get.Parameters, role.Post.Parameters)
	}
}

func TestOpenAPIListing(t *testing.T) {
	t.Parallel()
	paths := describe(t)
	if len(paths) != 3 {
		t.Errorf("paths %+v", paths)
	}
	for path, captured := range map[string]int{"/aws/roles/": 0, "/aws/roles/{path}": 1} {
		list := paths[path]
		if list.Get == nil || len(list.Parameters) != captured || list.Get.Parameters[len(list.Get.Parameters)-1] != (parameter{"list", "query"}) {
			t.Errorf("%s: %+v", path, list)
		}
	}
}
