package quotas_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// What is refused is on record if that was asked for, and else costs nothing.
func TestRefusedRequestsOnRecord(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "audit")
	s := kit.New(t, kit.Core(func(c *core.Config) { c.Audit.Folder = folder }))
	s.Put("sys/audit/a", body{"type": "file", "options": body{"file_path": "a.log"}})
	s.Mount("kv", "kv", nil)
	s.Put("sys/quotas/rate-limit/q", body{"rate": 1, "interval": "1h", "path": "kv"})
	records := func() int {
		text, err := os.ReadFile(filepath.Join(folder, "a.log"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "\n")
	}
	s.Do(kit.Request{Path: "kv/a"})
	before := records()
	s.Must(http.StatusTooManyRequests, kit.Request{Path: "kv/a"})
	if got := records(); got != before {
		t.Errorf("%d records of a request that was refused", got-before)
	}
	s.Put("sys/quotas/config", body{"enable_rate_limit_audit_logging": true})
	before = records()
	s.Must(http.StatusTooManyRequests, kit.Request{Path: "kv/a"})
	if got := records(); got != before+2 {
		t.Errorf("%d records of a request that was refused, want 2", got-before)
	}
}
