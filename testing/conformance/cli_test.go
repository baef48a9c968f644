package conformance_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// shell runs a line as a user types it, against a server, and returns what it
// prints and its exit code.
func shell(t *testing.T, s *server, line string) (stdout string, code int) {
	t.Helper()
	dir := t.TempDir()
	check(t, os.Symlink(must(filepath.Abs(binary))(t), filepath.Join(dir, "coffer")))
	cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir, "COFFER_ADDR=" + s.address, "COFFER_TOKEN=" + s.token}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if code = cmd.ProcessState.ExitCode(); err != nil && code <= 0 {
		t.Fatal(err)
	}
	if code != 0 {
		t.Logf("%s: exit %d: %s", line, code, stderr.String())
	}
	return string(out), code
}

// TestCommandLine runs the lines that the documentation shows, one after the
// other, and reads their effects with the official client.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := configuredAndUnsealed(t)
	c := s.client(t)
	check(t, c.Sys().Mount("secret", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}))
	kv, ctx := c.KVv2("secret"), t.Context()
	const path = "database/master"
	do := func(line string, wants ...string) string {
		t.Helper()
		out, code := shell(t, s, line)
		equal(t, line, code, 0)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Fatalf("%s: %q is missing in\n%s", line, want, out)
			}
		}
		return out
	}

	do(`coffer kv put secret/database/master username=app password='Tr0ub4dor&3'`, "secret/data/database/master", "version")
	equal(t, "written", must(kv.Get(ctx, path))(t).Data, object{"username": "app", "password": "Tr0ub4dor&3"})
	do(`coffer kv get secret/database/master`, "username", "Tr0ub4dor&3")
	do(`coffer kv get -version=1 secret/database/master`, "Tr0ub4dor&3")
	equal(t, "one field", do(`coffer kv get -field=password secret/database/master`), "Tr0ub4dor&3")
	do(`coffer kv metadata get secret/database/master`, "current_version", "Version 1")

	do(`coffer kv delete secret/database/master`, "Success!")
	holds(t, "deleted", must(kv.Get(ctx, path))(t).Data == nil)
	do(`coffer kv undelete -versions=1 secret/database/master`, "Success!")
	holds(t, "undeleted", must(kv.Get(ctx, path))(t).Data != nil)
	var got struct {
		Data struct{ Data map[string]string }
	}
	check(t, json.Unmarshal([]byte(do(`coffer kv get secret/database/master -format=json`)), &got))
	equal(t, "as JSON", got.Data.Data["username"], "app")
	do(`coffer kv destroy -versions=1 secret/database/master`, "Success!")
	holds(t, "destroyed", must(kv.GetVersion(ctx, path, 1))(t).VersionMetadata.Destroyed)

	do(`coffer policy write app - <<< 'path "secret/data/app/*" { capabilities = ["read"] }'`, "Success!")
	holds(t, "policy", strings.Contains(must(c.Sys().GetPolicy("app"))(t), "secret/data/app/*"))
	token := strings.TrimSpace(do(`coffer token create -policy=app -ttl=1h -field=token`))
	equal(t, "capabilities", must(c.Sys().Capabilities(token, "secret/data/app/x"))(t), []string{"read"})
	do(`coffer token create -policy=app -ttl=1h`, "token_accessor", "1h", "app")

	_, code := shell(t, s, `coffer kv get secret/nonesuch`)
	equal(t, "exit code", code, 2)
	_, code = shell(t, s, `coffer kv get`)
	equal(t, "exit code", code, 1)
}
