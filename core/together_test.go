package core_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// op is one operation of a request for several.
func op(operation, path string, data body) body {
	b := body{"operation": operation, "path": path}
	if data != nil {
		b["data"] = data
	}
	return b
}

func together(token string, ops ...body) kit.Request {
	return kit.Request{Method: http.MethodPut, Path: "sys/transaction", Token: token, Body: body{"operations": ops}}
}

// value is the body of a write of kv version 2.
func value(v any) body { return body{"data": body{"v": v}} }

func kvServer(t *testing.T, list ...kit.Option) *kit.Server {
	t.Helper()
	s := kit.New(t, list...)
	s.Mount("kv", "kv", map[string]string{"version": "2"})
	s.Put("kv/data/a", value("old"))
	s.Put("kv/data/b", value("old"))
	return s
}

// unchanged checks that nobody has changed what kvServer wrote.
func unchanged(t *testing.T, s *kit.Server) {
	t.Helper()
	for _, path := range []string{"kv/data/a", "kv/data/b"} {
		if r := s.Get(path); r.Text("data", "data", "v") != "old" || fmt.Sprint(r.At("data", "metadata", "version")) != "1" {
			t.Errorf("%s is %s", path, r.Raw)
		}
	}
}

// TestTogether: several operations see each other's writes, and are answered in
// their order.
func TestTogether(t *testing.T) {
	t.Parallel()
	s := kvServer(t)
	r := must(t, s.Do(together("",
		op("update", "kv/data/a", body{"data": body{"v": "new"}, "options": body{"cas": 1}}),
		op("patch", "kv/data/b", body{"data": body{"w": 2}}),
		op("read", "kv/data/b", nil),
		op("read", "kv/data/a", body{"version": 1}),
		op("delete", "kv/metadata/b", nil),
		op("read", "kv/data/b", nil),
		op("create", "cubbyhole/c", body{"x": "y"}),
		op("list", "kv/metadata", nil),
	)))
	results, _ := r.At("data", "operations").([]any)
	want := []string{
		`map[data:map[created_time:`, `map[data:map[created_time:`, `data:map[v:old w:2]`, `data:map[v:old]`, `map[]`, `map[missing:true]`,
		`map[]`, `map[data:map[keys:[a]]]`,
	}
	if len(results) != len(want) {
		t.Fatalf("answered %s", r.Raw)
	}
	for i, text := range want {
		if got := fmt.Sprint(results[i]); !strings.Contains(got, text) {
			t.Errorf("operation %d was answered %s, want %q", i+1, got, text)
		}
	}
	if got := s.Get("kv/data/a").Text("data", "data", "v"); got != "new" {
		t.Errorf("read %q", got)
	}
	r = must(t, s.Do(kit.Request{Method: http.MethodPut, Path: "sys/transaction", Body: body{"operations": `[{"operation":"read","path":"kv/data/a"}]`}}))
	if !strings.Contains(string(r.Raw), `"v":"new"`) {
		t.Errorf("operations in a text were answered %s", r.Raw)
	}
}

// TestTogetherFails: one operation that fails undoes all, and the error says
// which it was.
func TestTogetherFails(t *testing.T) {
	t.Parallel()
	s := kvServer(t, kit.Engines(&engines.Engine{
		Type: "outside", Class: engines.ClassSecret,
		Revoke: func(context.Context, *engines.Reach, []engines.Revocation) []error { return nil },
		Table: func(engines.Mount) (*engines.Table, error) {
			never := func(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) {
				t.Error("it was run")
				return nil, nil //nolint:nilnil // never
			}
			return &engines.Table{Routes: []engines.Route{{Pattern: "creds", Help: "A credential.", Ops: []engines.Op{{Do: engines.Read, Trait: engines.Issues, Handler: never}}}}}, nil
		},
	}))
	s.Mount("outside", "outside", nil)
	s.Policy("app", `path "sys/transaction" { capabilities = ["update"] }
path "kv/data/a" { capabilities = ["create", "update"] }
path "kv/data/*" { capabilities = ["read"] }`)
	app := s.Login("app")
	first := op("update", "kv/data/a", value("new"))
	for name, c := range map[string]struct {
		token  string
		second body
		status int
		text   string
	}{
		"a check that fails": {"", op("update", "kv/data/b", body{"data": body{}, "options": body{"cas": 7}}), 400, "operation 2: check-and-set parameter did not match"},
		"a denial":           {app, op("update", "kv/data/b", value("new")), 403, "1 error occurred:\n\t* permission denied\n\n"},
		"no mount":           {"", op("read", "nowhere/x", nil), 404, "operation 2: no handler for route"},
		"nothing to patch":   {"", op("patch", "kv/data/none", value("x")), 404, "operation 2"},
		"a system path":      {"", op("update", "sys/mounts/x", body{"type": "kv"}), 400, "operation 2: what this path does cannot be part"},
		"a login's path":     {"", op("update", "auth/token/create", nil), 400, "operation 2: what this path does cannot be part"},
		"another of them":    {"", op("update", "sys/transaction", body{"operations": []body{first}}), 400, "operation 2: what this path does cannot be part"},
		"a credential":       {"", op("read", "outside/creds", nil), 400, "operation 2: what this path does cannot be part"},
		"a denied system":    {app, op("update", "sys/mounts/x", body{"type": "kv"}), 403, "permission denied"},
		"a path that climbs": {"", op("read", "kv/../sys", nil), 400, "operation 2:"},
		"an unknown verb":    {"", op("help", "kv", nil), 400, "operation 2: expected create, update"},
		"a nested query":     {"", op("read", "kv/data/b", body{"version": body{}}), 400, "operation 2: data"},
		"an unknown member":  {"", body{"operation": "read", "path": "kv/data/a", "token": "t"}, 400, "operations: expected an array"},
	} {
		r := s.Do(together(c.token, first, c.second))
		refused(t, r, c.status, c.text)
		if c.status == 403 && !strings.Contains(strings.Join(r.Strings("warnings"), "\n"), "operation 2 was refused") {
			t.Errorf("%s: it is not said which: %s", name, r.Raw)
		}
		unchanged(t, s)
	}
	for _, b := range []any{body{}, body{"operations": []body{}}, body{"operations": "x"}, body{"operations": "[] []"}, body{"operations": make([]body, 129)}, body{"operations": nil}} {
		refused(t, s.Do(kit.Request{Method: http.MethodPut, Path: "sys/transaction", Body: b}), 400, "operations")
	}
	s.Policy("alone", `path "kv/data/*" { capabilities = ["create", "update"] }`)
	refused(t, s.Do(together(s.Login("alone"), first)), 403, "permission denied")
	unchanged(t, s)
}

// TestTogetherIsBounded: neither what is written nor what is read grows beyond
// limits that the error tells.
func TestTogetherIsBounded(t *testing.T) {
	t.Parallel()
	s := kvServer(t)
	s.Put("kv/data/large", value(strings.Repeat("x", 1000<<10)))
	var reads, writes []body
	for i := range 9 {
		reads = append(reads, op("read", "kv/data/large", nil))
		writes = append(writes, op("update", fmt.Sprintf("kv/data/w%d", i), value(strings.Repeat("x", 1000<<10))))
	}
	must(t, s.Do(together("", reads[:8]...)))
	refused(t, s.Do(together("", reads...)), http.StatusRequestEntityTooLarge, "larger than the limit of 8388608 bytes: ask for fewer")
	must(t, s.Do(together("", writes[:3]...)))
	refused(t, s.Do(together("", writes[3:]...)), http.StatusRequestEntityTooLarge, "operation 5: the request changes more than fits one transaction")
	if r := s.Do(kit.Request{Path: "kv/data/w3"}); r.Status != http.StatusNotFound {
		t.Errorf("a part was written: %d", r.Status)
	}
}

// TestTogetherIsSeenWhole: no reader sees a part, and no other's write comes
// between what is read and what is written.
func TestTogetherIsSeenWhole(t *testing.T) {
	t.Parallel()
	s := kvServer(t)
	const writers, each = 4, 25
	ends := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				v := value(fmt.Sprint(w, "-", n))
				if r := s.Do(together("", op("update", "kv/data/a", v), op("update", "kv/data/b", v))); r.Status != http.StatusOK && r.Status != http.StatusConflict {
					t.Errorf("answered %d %s", r.Status, r.Raw)
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(ends)
	}()
	for reads := 0; ; reads++ {
		r := must(t, s.Do(together("", op("read", "kv/data/a", nil), op("read", "kv/data/b", nil))))
		list, _ := r.At("data", "operations").([]any)
		a, b := list[0].(map[string]any)["data"].(map[string]any), list[1].(map[string]any)["data"].(map[string]any)
		if fmt.Sprint(a["data"]) != fmt.Sprint(b["data"]) {
			t.Fatalf("read %v and %v", a, b)
		}
		select {
		case <-ends:
			if got := fmt.Sprint(a["metadata"]); reads == 0 || got == "" {
				t.Error("nothing was read meanwhile")
			}
			return
		default:
		}
	}
}

// TestTogetherCounts: the whole is one use of a token, and each operation counts
// against the rate of its path.
func TestTogetherCounts(t *testing.T) {
	t.Parallel()
	s := kvServer(t)
	s.Policy("app", `path "sys/transaction" { capabilities = ["update"] }
path "kv/data/*" { capabilities = ["create", "read", "update"] }`)
	once := s.Put("auth/token/create", body{"policies": "app", "num_uses": 1}).Text("auth", "client_token")
	must(t, s.Do(together(once, op("update", "kv/data/c", value("1")), op("read", "kv/data/a", nil))))
	refused(t, s.Do(together(once, op("read", "kv/data/a", nil))), 403, "permission denied")
	s.Put("sys/quotas/rate-limit/q", body{"rate": 3, "interval": "1h", "path": "kv"})
	two := together("", op("read", "kv/data/a", nil), op("read", "kv/data/b", nil))
	must(t, s.Do(two))
	if r := s.Do(two); r.Status != http.StatusTooManyRequests {
		t.Errorf("a fourth operation was answered %d %s", r.Status, r.Raw)
	}
}

// TestTogetherByAFollower is handed on, and is on every node.
func TestTogetherByAFollower(t *testing.T) {
	t.Parallel()
	c := kit.NewCluster(t, 3)
	c.Leader().Mount("kv", "kv", map[string]string{"version": "2"})
	for i, s := range c.Followers() {
		v := value(fmt.Sprint(i))
		must(t, s.Do(together("", op("update", "kv/data/a", v), op("update", "kv/data/b", v))))
	}
	for _, s := range c.Followers() {
		r := must(t, s.Do(together("", op("read", "kv/data/a", nil), op("read", "kv/data/b", nil))))
		if got := strings.Count(string(r.Raw), `"v":"1"`); got != 2 {
			t.Errorf("a follower answers %s", r.Raw)
		}
	}
	c.Equal()
}
