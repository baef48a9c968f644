package issued_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestReconcile finds what was left behind, and removes neither what somebody
// else made, nor what a mark was copied to, nor what may be on its way.
func TestReconcile(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	ask := func() (id, user string) {
		got := s.Get("fake/creds/a?ttl=20h")
		return got.Text("lease_id"), got.Text("data", "username")
	}
	_, kept := ask()
	lost, missing := ask()
	forgotten, orphan := ask()
	p.jam("a", true)
	s.Put("sys/leases/revoke-force/"+forgotten, nil)
	p.jam("a", false)
	p.mu.Lock()
	delete(p.users, missing)
	p.users["copied"], p.marks["copied"] = clock.Wall(), p.marks[orphan]
	p.users["strange"] = clock.Wall()
	p.mu.Unlock()
	clock.Advance(time.Second)
	compare := func(b body) *kit.Response {
		b["mount"], b["target"] = "fake/", "a"
		return s.Put("sys/leases/reconcile", b)
	}
	numbers := func(r *kit.Response) string {
		return fmt.Sprintf("%v %v %v %v %v %v", r.At("data", "found"), r.At("data", "others"), r.At("data", "unleased"), r.At("data", "removable"), r.At("data", "missing"), r.At("data", "removed"))
	}
	told := compare(body{})
	if numbers(told) != "2 2 1 0 1 0" || !slices.Equal(told.Strings("data", "unleased_names"), []string{orphan}) || !slices.Equal(told.Strings("data", "missing_lease_ids"), []string{lost}) {
		t.Errorf("told %s", told.Raw)
	}
	if told = compare(body{"dry_run": false}); numbers(told) != "2 2 1 0 1 0" {
		t.Errorf("of what is young, told %s", told.Raw)
	}
	settles(t, p, kept, orphan, "copied", "strange")
	clock.Advance(time.Hour)
	if told = compare(body{}); numbers(told) != "2 2 1 1 1 0" {
		t.Errorf("told %s", told.Raw)
	}
	settles(t, p, kept, orphan, "copied", "strange")
	if told = compare(body{"dry_run": false}); numbers(told) != "2 2 1 1 1 1" {
		t.Errorf("told %s", told.Raw)
	}
	settles(t, p, kept, "copied", "strange")
	if last := s.Get("sys/leases/reconcile"); !strings.Contains(string(last.Raw), `"unleased_names":["`+orphan+`"]`) {
		t.Errorf("the last report is %s", last.Raw)
	}
	for _, bad := range []body{{}, {"mount": "fake"}, {"mount": "none", "target": "a"}, {"mount": "cubbyhole", "target": "a"}, {"mount": "fake", "target": "a", "grace": "1m"}} {
		s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/leases/reconcile", Body: bad})
	}
}

// TestSweep has the leader find by itself what was left behind, and remove it once
// it is old.
func TestSweep(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	e := p.engine()
	e.Targets = func(engines.Tx) ([]string, error) { return []string{"a"}, nil }
	s := kit.New(t, kit.At(clock), kit.Engines(e))
	mount(s)
	kept, orphan := s.Get("fake/creds/a?ttl=700h"), s.Get("fake/creds/a?ttl=700h")
	left := orphan.Text("data", "username")
	p.jam("a", true)
	s.Put("sys/leases/revoke-force/"+orphan.Text("lease_id"), nil)
	p.jam("a", false)
	p.mu.Lock()
	p.users["strange"] = clock.Wall()
	p.mu.Unlock()
	last := func() *kit.Response { return s.Get("sys/leases/reconcile") }
	eventually(t, "it is reported", func() bool {
		clock.Advance(15 * time.Minute)
		return strings.Contains(string(last().Raw), `"unleased":1,"removable":0,"unleased_names":["`+left+`"]`)
	})
	settles(t, p, kept.Text("data", "username"), left, "strange")
	eventually(t, "it is removed", func() bool {
		clock.Advance(time.Hour)
		return !slices.Contains(p.list(), left)
	})
	eventually(t, "that is reported", func() bool { return strings.Contains(string(last().Raw), `"removed":1`) })
	settles(t, p, kept.Text("data", "username"), "strange")
	if got := s.Get("fake/creds/a").Text("data", "username"); !slices.Contains(p.list(), got) || clock.Wall().Sub(kit.NewClock().Wall()) < 23*time.Hour {
		t.Errorf("%s is gone, or what was left behind went before its time", got)
	}
}
