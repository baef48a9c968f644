package core_test

import (
	"encoding/json"
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

// A node that ends without a word has not sealed more than is on record: what it
// may have sealed counts as done.
func TestCrashForgetsNoEncryptions(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("kv", "kv", nil)
	count := func() int64 {
		text, ok := s.Get("sys/key-status").At("data", "encryptions").(json.Number)
		n, err := text.Int64()
		if !ok || err != nil {
			t.Fatalf("the count is %v: %v", text, err)
		}
		return n
	}
	before := int64(0)
	for range 2 {
		eventually(t, func() bool { s.Put("kv/a", body{"v": "w"}); return count() > before })
		before = count()
		s.Restart()
		s.Unseal()
		if now := count(); now < before {
			t.Fatalf("%d encryptions after a crash, %d before", now, before)
		}
	}
	s.Put("sys/rotate", nil)
	if now := count(); now >= before {
		t.Errorf("a new key begins with %d encryptions", now)
	}
}
