package conformance_test

import (
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

func TestAuditDevices(t *testing.T) {
	t.Parallel()
	s, _ := unsealed(t, 1, 1)
	c := s.client(t)
	sys := c.Sys()
	equal(t, "devices of a new server", len(must(sys.ListAudit())(t)), 0)
	check(t, sys.EnableAuditWithOptions("main", &api.EnableAuditOptions{
		Type: "file", Description: "what happened", Options: map[string]string{"file_path": "main.log", "hmac_accessor": "false"}, Local: true,
	}))
	check(t, sys.EnableAudit("other", "file", "", map[string]string{"file_path": "other.log"}))
	all := must(sys.ListAudit())(t)
	equal(t, "number", len(all), 2)
	d := all["main/"]
	equal(t, "device", []any{d.Type, d.Description, d.Path, d.Local, d.Options["file_path"]}, []any{"file", "what happened", "main/", true, "main.log"})
	refused(t, sys.EnableAudit("main", "file", "", map[string]string{"file_path": "again.log"}), 400, "path already in use")
	refused(t, sys.EnableAudit("bad", "file", "", map[string]string{"file_path": "/etc/passwd"}), 400, "file_path")

	hash := must(sys.AuditHash("main", "secret"))(t)
	holds(t, "hash", strings.HasPrefix(hash, "hmac-sha256:"))
	equal(t, "the same hash", must(sys.AuditHash("main", "secret"))(t), hash)
	holds(t, "another device, another hash", must(sys.AuditHash("other", "secret"))(t) != hash)
	_, err := sys.AuditHash("nonesuch", "secret")
	refused(t, err, 400, "")

	check(t, sys.DisableAudit("main"))
	check(t, sys.DisableAudit("main"))
	equal(t, "one is left", len(must(sys.ListAudit())(t)), 1)
}
