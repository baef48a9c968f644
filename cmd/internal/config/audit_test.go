package config_test

import (
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

func TestAuditDevices(t *testing.T) {
	for name, text := range map[string]string{
		"HCL": `
audit_path = "/var/log/coffer"
audit "file" "main" {
  description = "what happened"
  options { file_path = "/var/log/coffer/audit.log", fsync = true }
}
audit "socket" "siem" {
  options = { address = "siem:9090" }
}`,
		"JSON": `{"audit_path": "/var/log/coffer", "audit": [
  {"file": {"main": {"description": "what happened", "options": {"file_path": "/var/log/coffer/audit.log", "fsync": true}}}},
  {"socket": {"siem": {"options": {"address": "siem:9090"}}}}
]}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := parse(t, text)
			same(t, "audit_path", c.Audit.Path, "/var/log/coffer")
			same(t, "number of devices", len(c.Audit.Devices), 2)
			d := c.Audit.Devices[0]
			same(t, "type", d.Type, "file")
			same(t, "name", d.Name, "main")
			same(t, "description", d.Description, "what happened")
			same(t, "file_path", d.Options["file_path"], "/var/log/coffer/audit.log")
			same(t, "fsync", d.Options["fsync"], "true")
			same(t, "second name", c.Audit.Devices[1].Name, "siem")
			same(t, "second address", c.Audit.Devices[1].Options["address"], "siem:9090")
		})
	}
}

func TestBadAuditStanzas(t *testing.T) {
	for text, want := range map[string]string{
		`audit "file" { options { file_path = "/a" } }`: `audit "file" "name"`,
		`audit = "file"`: `audit "file" "name"`,
		`audit "file" "a" { option { file_path = "/a" } }`:          `did you mean "options"`,
		`audit "file" "a" { options { file_path = ["/a"] } }`:       "single value",
		"audit \"file\" \"a\" {\n options {\n a = 1\n A = 2\n }\n}": "c.hcl:4",
		`audit_path = "relative"`:                                   "absolute",
	} {
		_, err := config.Parse("c.hcl", []byte(text), environment{}.lookup)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
