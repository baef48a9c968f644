package audit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// BenchmarkRead is a read of kv version 2 through the API's handler, without
// and with devices.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name  string
		files int
		raw   string
	}{{"none", 0, ""}, {"file", 1, "false"}, {"file-raw", 1, "true"}, {"two-files", 2, "false"}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			var devices []audit.Entry
			for i := range c.files {
				name := string(rune('a' + i))
				devices = append(devices, audit.Entry{Path: name, Type: "file", Options: map[string]string{
					"file_path": dir + "/" + name + ".log", "log_raw": c.raw,
				}})
			}
			s := kit.New(b, kit.Core(func(cfg *core.Config) { cfg.Audit.Devices = devices }))
			s.Mount("kv", "kv", map[string]string{"version": "2"})
			s.Put("kv/data/x", body{"data": body{"user": "app", "password": "secret"}})
			b.SetParallelism(16)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/v1/kv/data/x", nil)
					r.Header.Set("X-Vault-Token", s.Root)
					w := httptest.NewRecorder()
					s.Handler.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						b.Errorf("answered %d", w.Code)
						return
					}
				}
			})
		})
	}
}
