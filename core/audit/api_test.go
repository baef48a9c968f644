package audit_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestEnableAndDisable(t *testing.T) {
	t.Parallel()
	s := serving(t)
	if got := s.Get("sys/audit"); fmt.Sprint(got.At("data")) != "map[]" {
		t.Errorf("a new server has %s", got.Raw)
	}
	s.Put("sys/audit/a/b", body{"type": "file", "description": "d", "local": true, "options": body{"file_path": "x.log"}})
	got := s.Get("sys/audit")
	for name, want := range map[string]any{"type": "file", "description": "d", "path": "a/b/", "local": true, "configured": false, "works": true} {
		for _, names := range [][]string{{"data", "a/b/", name}, {"a/b/", name}} {
			if v := got.At(names...); v != want {
				t.Errorf("%v is %v, want %v", names, v, want)
			}
		}
	}
	if v := got.Text("data", "a/b/", "options", "file_path"); v != "x.log" {
		t.Errorf("file_path is %q", v)
	}
	refused(t, put(s, "sys/audit/a/b", body{"type": "file", "options": body{"file_path": "y.log"}}), http.StatusBadRequest, "path already in use")
	file := s.folder + "/x.log"
	all := records(t, file)
	if len(on(all, "request", "sys/audit/test")) != 1 || len(on(all, "response", "sys/audit/a/b")) != 2 {
		t.Errorf("enabling left %v", all)
	}
	s.Delete("sys/audit/a/b")
	s.Delete("sys/audit/a/b")
	n := len(records(t, file))
	s.Get("sys/mounts")
	if last := records(t, file); len(last) != n || at(last[n-1], "request", "operation") != "delete" {
		t.Errorf("disabling left %v", last[n-1])
	}
	s.Policy("none", `path "sys/audit*" { capabilities = ["create", "read", "update", "delete", "list"] }`)
	token := s.Login("none")
	for _, r := range []kit.Request{
		{Path: "sys/audit"}, {Method: http.MethodPut, Path: "sys/audit/x", Body: body{"type": "file", "options": body{"file_path": "x"}}},
		{Method: http.MethodDelete, Path: "sys/audit/x"}, {Path: "sys/config/auditing/request-headers"},
	} {
		r.Token = token
		refused(t, s.Do(r), http.StatusForbidden, "permission denied") // it takes sudo
	}
	for i := range 16 {
		s.enable(fmt.Sprintf("n%d", i), nil)
	}
	refused(t, put(s, "sys/audit/more", body{"type": "file", "options": body{"file_path": "x"}}), http.StatusBadRequest, "limit")
}

func TestConfiguredDevices(t *testing.T) {
	t.Parallel()
	out := new(gate)
	s := serving(t, configured(relaxed, out, stdout()))
	s.Mount("one", "kv", nil)
	refused(t, s.Do(kit.Request{Method: http.MethodDelete, Path: "sys/audit/out"}), http.StatusBadRequest, "configuration")
	refused(t, put(s, "sys/audit/out", body{"type": "file", "options": body{"file_path": "x"}}), http.StatusBadRequest, "already in use")
	hash := s.hash("out", "value")
	s.Put("sys/seal", nil)
	all := parse(t, out.bytes())
	if len(on(all, "request", "sys/seal")) != 1 || len(on(all, "response", "sys/seal")) != 1 {
		t.Error("sealing is not on record")
	}
	s.Unseal()
	if again := s.hash("out", "value"); again != hash {
		t.Errorf("the hash is %s now, was %s", again, hash)
	}
	for _, bad := range []audit.Entry{
		device("a", "relative"), device("a b", "/x"), {Path: "a", Type: "none"}, device("a", "discard"),
		{Path: "a", Type: "file", Options: map[string]string{"file_path": "/x", "prefix": "x"}},
	} {
		cfg := audit.Config{Devices: []audit.Entry{bad}}
		if err := cfg.Check(); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	cfg := audit.Config{Devices: []audit.Entry{device("a", "/x"), device("a/", "/y")}}
	if err := cfg.Check(); err == nil {
		t.Error("two devices of one name were accepted")
	}
}

func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	s := serving(t)
	const path = "sys/config/auditing/request-headers"
	s.Put(path+"/X-One", body{"hmac": true})
	s.Put(path+"/x-two", nil)
	if got := s.Get(path); fmt.Sprint(got.At("data", "headers")) != "map[x-one:map[hmac:true] x-two:map[hmac:false]]" {
		t.Errorf("the headers are %s", got.Raw)
	}
	if got := s.Get(path+"/X-ONE").At("data", "x-one", "hmac"); got != true {
		t.Errorf("hmac is %v", got)
	}
	s.Delete(path + "/X-One")
	s.Delete(path + "/X-One")
	refused(t, s.Do(kit.Request{Path: path + "/x-one"}), http.StatusBadRequest, "Could not find header in config")
	for _, name := range []string{"X-Vault-Token", "authorization", "Cookie"} {
		refused(t, put(s, path+"/"+name, body{"hmac": false}), http.StatusBadRequest, "secret")
	}
	refused(t, put(s, path+"/a%20b", body{"hmac": true}), http.StatusBadRequest, "header")
}

// TestRecordsAreOfOneRequest: the records of a request share its id with the
// answer, and a denied request is on record once.
func TestRecordsAreOfOneRequest(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("one", "kv", nil)
	file := s.enable("file", nil)
	s.Put("one/x", body{"a": "b"})
	id := s.Get("one/x").Text("request_id")
	counted := s.Put("auth/token/create", body{"policies": []string{"default"}, "num_uses": 3}).Text("auth", "client_token")
	s.Must(http.StatusForbidden, kit.Request{Method: http.MethodPut, Path: "one/denied", Token: counted, Body: body{"a": "b"}})
	s.Must(http.StatusForbidden, kit.Request{Path: "one/denied", Token: counted})
	all := records(t, file)
	shared := 0
	for _, r := range all {
		if at(r, "request", "id") == id {
			shared++
		}
	}
	if shared != 2 {
		t.Errorf("%d records have the id of the answer", shared)
	}
	for _, typ := range []string{"request", "response"} {
		denied := on(all, typ, "one/denied")
		if len(denied) != 2 {
			t.Fatalf("%d %ss are on record", len(denied), typ)
		}
		for _, r := range denied {
			if r["error"] != "permission denied" {
				t.Errorf("the error is %v", r["error"])
			}
		}
	}
}

// pair makes a node look like one of two.
type pair struct {
	core.Node
	asked chan struct{}
}

func (p pair) Status() core.NodeStatus {
	s := p.Node.Status()
	s.Members = append(s.Members, core.Member{ID: "other", Voter: true})
	return s
}

func (p pair) StepDown(context.Context) error {
	select {
	case p.asked <- struct{}{}:
	default:
	}
	return nil
}

// TestLeaderYields: a leader that cannot record anything lets another lead.
func TestLeaderYields(t *testing.T) {
	t.Parallel()
	out := new(gate)
	asked := make(chan struct{}, 1)
	s := serving(t, configured(relaxed, out, stdout()), kit.Core(func(c *core.Config) { c.Node = pair{c.Node, asked} }))
	s.Get("sys/mounts")
	out.failing(errDisk, 0)
	s.Must(http.StatusInternalServerError, kit.Request{Path: "sys/mounts"})
	<-asked
}
