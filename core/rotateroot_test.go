package core_test

import (
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// A root key that the seal keeps is replaced without shares: what was stored
// before is read after, also by a node that unseals with the new one.
func TestRotateRootKey(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Wrapper(staticWrapper(t, "one", 1)))
	s.Mount("kv", "kv", nil)
	s.Put("kv/a", body{"v": "kept"})
	s.Put("sys/rotate/root", nil)
	s.Put("sys/rotate", nil)
	s.Put("sys/rotate/root", nil)
	s.Restart()
	if err := s.Core.AutoUnseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Get("kv/a").Text("data", "v"); got != "kept" {
		t.Errorf("read %q", got)
	}
	shared := kit.New(t)
	refused(t, shared.Do(kit.Request{Method: http.MethodPut, Path: "sys/rotate/root"}), 400, "rotate/root/init")
}
