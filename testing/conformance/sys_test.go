package conformance_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

func TestHealthOfAnUnsealedNode(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	health := must(c.Sys().Health())(t)
	holds(t, "initialised, unsealed, active if it leads", health.Initialized && !health.Sealed && health.Standby == (dev.others > 0))
	holds(t, "identified", health.Version != "" && health.ClusterID != "" && health.ClusterName != "")
	holds(t, "clock", time.Since(time.Unix(health.ServerTimeUTC, 0)).Abs() < time.Minute)
	holds(t, "initialised", must(c.Sys().InitStatus())(t))

	status := must(c.Sys().SealStatus())(t)
	equal(t, "seal", []any{status.Type, status.Initialized, status.Sealed, status.T, status.N, status.Progress}, []any{"shamir", true, false, 1, 1, 0})
	equal(t, "the same cluster", status.ClusterID, health.ClusterID)
	equal(t, "storage", status.StorageType, "raft")

	leader := must(c.Sys().Leader())(t)
	holds(t, "knows who leads", leader.HAEnabled && leader.IsSelf == (dev.others == 0) && leader.LeaderAddress != "" && leader.LeaderClusterAddress != "")
	holds(t, "since it was elected", dev.others > 0 || time.Since(leader.ActiveTime) < time.Hour)
	holds(t, "indexes", leader.RaftAppliedIndex > 0 && leader.RaftCommittedIndex >= leader.RaftAppliedIndex)

	ha := must(c.Sys().HAStatus())(t)
	equal(t, "nodes", len(ha.Nodes), dev.others+1)
	node := ha.Nodes[0]
	for _, other := range ha.Nodes {
		if other.ActiveNode {
			node = other
		}
	}
	holds(t, "the leader", node.Hostname != "" && node.ClusterAddress != "" && node.APIAddress != "" && node.Version == health.Version)
}

func TestMountsComeAndGo(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	sys := c.Sys()
	path := mounted(t, c, "2")
	m := must(sys.ListMounts())(t)[path+"/"]
	equal(t, "type and options", []any{m.Type, m.Options}, []any{"kv", map[string]string{"version": "2"}})
	holds(t, "identified", m.UUID != "" && strings.HasPrefix(m.Accessor, "kv_"))
	for path, typ := range map[string]string{"sys/": "system", "cubbyhole/": "cubbyhole", "secret/": "kv"} {
		m := must(sys.ListMounts())(t)[path]
		holds(t, path, m != nil && m.Type == typ)
	}

	err := sys.Mount(path, &api.MountInput{Type: "kv"})
	refused(t, err, 400, "path is already in use at "+path+"/")
	refused(t, sys.Mount(path+"/below", &api.MountInput{Type: "kv"}), 400, "in use")
	refused(t, sys.Mount(path+"-x", &api.MountInput{Type: "nonesuch"}), 400, "nonesuch")
	refused(t, sys.Mount("sys/x", &api.MountInput{Type: "kv"}), 400, "")

	must(c.KVv2(path).Put(t.Context(), "a", object{"k": "v"}))(t)
	check(t, sys.Remount(path, path+"-moved"))
	equal(t, "data moved along", must(c.KVv2(path+"-moved").Get(t.Context(), "a"))(t).Data, object{"k": "v"})
	holds(t, "the old path is free", must(sys.ListMounts())(t)[path+"/"] == nil)
	moved := must(sys.StartRemount(path+"-moved", path))(t)
	status := must(sys.RemountStatus(moved.MigrationID))(t)
	equal(t, "status", status.MigrationInfo.MigrationStatus, "success")
	equal(t, "target", strings.TrimSuffix(status.MigrationInfo.TargetMount, "/"), path)

	check(t, sys.Unmount(path))
	holds(t, "gone", must(sys.ListMounts())(t)[path+"/"] == nil)
	check(t, sys.Unmount(path))
	check(t, sys.Mount(path, &api.MountInput{Type: "kv-v2"}))
	_, err = c.KVv2(path).Get(t.Context(), "a")
	missing(t, err)
}

func TestMountsAreTuned(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	sys := c.Sys()
	path := strings.ToLower(t.Name())
	check(t, sys.Mount(path, &api.MountInput{
		Type: "kv", Description: "before", Config: api.MountConfigInput{DefaultLeaseTTL: "10m", MaxLeaseTTL: "1h"},
	}))
	t.Cleanup(func() { check(t, sys.Unmount(path)) })
	cfg := must(sys.MountConfig(path))(t)
	equal(t, "lifetimes", []int{cfg.DefaultLeaseTTL, cfg.MaxLeaseTTL}, []int{600, 3600})

	after := "after"
	check(t, sys.TuneMount(path, api.MountConfigInput{
		DefaultLeaseTTL: "20m", MaxLeaseTTL: "2h", Description: &after, ListingVisibility: "unauth",
		AuditNonHMACRequestKeys: []string{"a"}, AuditNonHMACResponseKeys: []string{"b"},
		PassthroughRequestHeaders: []string{"X-C"}, AllowedResponseHeaders: []string{"X-D"},
	}))
	cfg = must(sys.MountConfig(path))(t)
	equal(t, "lifetimes", []int{cfg.DefaultLeaseTTL, cfg.MaxLeaseTTL}, []int{1200, 7200})
	equal(t, "visibility", cfg.ListingVisibility, "unauth")
	equal(t, "headers and keys",
		[][]string{cfg.AuditNonHMACRequestKeys, cfg.AuditNonHMACResponseKeys, cfg.PassthroughRequestHeaders, cfg.AllowedResponseHeaders},
		[][]string{{"a"}, {"b"}, {"X-C"}, {"X-D"}})
	equal(t, "description", must(sys.ListMounts())(t)[path+"/"].Description, "after")
	check(t, sys.TuneMount(path, api.MountConfigInput{}))
	equal(t, "what is empty is left as it is", must(sys.MountConfig(path))(t).MaxLeaseTTL, 7200)

	refused(t, sys.TuneMount(path, api.MountConfigInput{DefaultLeaseTTL: "3h"}), 400, "")
	refused(t, sys.TuneMount(path, api.MountConfigInput{DefaultLeaseTTL: "soon"}), 400, "default_lease_ttl")
	refused(t, sys.TuneMount("nonesuch", api.MountConfigInput{DefaultLeaseTTL: "1h"}), 400, "")
	_, err := sys.MountConfig("nonesuch")
	refused(t, err, 400, "")
}

func TestWaysToLogIn(t *testing.T) {
	t.Parallel()
	sys := dev.client(t).Sys()
	token := must(sys.ListAuth())(t)["token/"]
	holds(t, "tokens", token != nil && token.Type == "token" && strings.HasPrefix(token.Accessor, "auth_token_") && token.UUID != "")
	holds(t, "its lifetimes", must(sys.MountConfig("auth/token"))(t).MaxLeaseTTL > 0)
	visible := "hidden"
	check(t, sys.TuneMount("auth/token", api.MountConfigInput{ListingVisibility: visible}))

	refused(t, sys.EnableAuth("mine", "nonesuch", ""), 400, "nonesuch")
	refused(t, sys.EnableAuthWithOptions("mine", &api.EnableAuthOptions{Type: "token"}), 400, "")
	refused(t, sys.DisableAuth("token"), 400, "token")
	check(t, sys.DisableAuth("nonesuch"))
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	sys := dev.client(t).Sys()
	rules := "# mine\npath \"secret/*\" {\n  capabilities = [\"read\"]\n}\n"
	check(t, sys.PutPolicy("Conform", rules))
	equal(t, "as it was written", must(sys.GetPolicy("conform"))(t), rules)
	names := must(sys.ListPolicies())(t)
	for _, name := range []string{"conform", "default", "root"} {
		holds(t, name+" is listed", slices.Contains(names, name))
	}
	check(t, sys.DeletePolicy("conform"))
	check(t, sys.DeletePolicy("conform"))
	equal(t, "gone", must(sys.GetPolicy("conform"))(t), "")
	holds(t, "default can be read", must(sys.GetPolicy("default"))(t) != "")

	refused(t, sys.PutPolicy("conform", `path "x" { capabilities = ["fly"] }`), 400, "fly")
	refused(t, sys.PutPolicy("conform", `path "x {`), 400, "")
	refused(t, sys.PutPolicy("root", rules), 400, "root")
	refused(t, sys.DeletePolicy("root"), 400, "root")
	refused(t, sys.DeletePolicy("default"), 400, "default")
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	reader := limited(t, c, `path "secret/data/a" { capabilities = ["list", "read"] }`)
	equal(t, "asked by another", must(c.Sys().Capabilities(reader.Token(), "secret/data/a"))(t), []string{"list", "read"})
	equal(t, "its own", must(reader.Sys().CapabilitiesSelf("secret/data/a"))(t), []string{"list", "read"})
	equal(t, "none", must(reader.Sys().CapabilitiesSelf("secret/data/b"))(t), []string{"deny"})
	equal(t, "all", must(c.Sys().CapabilitiesSelf("secret/data/b"))(t), []string{"root"})
	_, err := c.Sys().Capabilities("nonesuch", "secret/data/a")
	refused(t, err, 400, "")
}

func TestKeyIsRotated(t *testing.T) {
	t.Parallel()
	sys := dev.client(t).Sys()
	before := must(sys.KeyStatus())(t)
	check(t, sys.Rotate())
	after := must(sys.KeyStatus())(t)
	holds(t, "a newer term", after.Term > before.Term && !after.InstallTime.Before(before.InstallTime))
	l := dev.client(t).Logical()
	must(l.Write("sys/rotate/config", object{"max_operations": 2_000_000, "interval": "72h", "enabled": true}))(t)
	cfg := must(l.Read("sys/rotate/config"))(t)
	equal(t, "interval", number(t, cfg.Data["interval"]), int64(72*60*60))
	equal(t, "operations", number(t, cfg.Data["max_operations"]), int64(2_000_000))
}

func TestCORS(t *testing.T) {
	t.Parallel()
	sys := configuredAndUnsealed(t).client(t).Sys()
	holds(t, "off at first", !must(sys.CORSStatus())(t).Enabled)
	check(t, sys.ConfigureCORS(&api.CORSRequest{Enabled: true, AllowedOrigins: []string{"https://a.example"}, AllowedHeaders: []string{"X-Mine"}}))
	status := must(sys.CORSStatus())(t)
	holds(t, "on", status.Enabled)
	equal(t, "origins", status.AllowedOrigins, []string{"https://a.example"})
	holds(t, "headers", slices.Contains(status.AllowedHeaders, "X-Mine") && slices.Contains(status.AllowedHeaders, "X-Vault-Token"))
	check(t, sys.DisableCORS())
	holds(t, "off again", !must(sys.CORSStatus())(t).Enabled)
	refused(t, sys.ConfigureCORS(&api.CORSRequest{Enabled: true}), 400, "origin")
}

// Paths that clients ask by name, for want of a method.
func TestSystemPathsWithoutAMethod(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	l := c.Logical()
	host := must(l.Read("sys/host-info"))(t)
	for _, field := range []string{"host", "cpu", "memory", "disk", "timestamp"} {
		holds(t, "host-info tells "+field, host.Data[field] != nil)
	}
	mount := must(l.Read("sys/internal/ui/mounts/secret/some/path"))(t)
	equal(t, "the mount of a path", []any{mount.Data["path"], mount.Data["options"]}, []any{"secret/", object{"version": "2"}})
	all := must(l.Read("sys/internal/ui/mounts"))(t)
	holds(t, "all mounts", all.Data["secret"].(object)["secret/"] != nil && all.Data["auth"].(object)["token/"] != nil)
	state := must(l.Read("sys/config/state/sanitized"))(t)
	holds(t, "the configuration", state.Data["listeners"] != nil)

	raw := must(l.ReadRawWithData("sys/metrics", map[string][]string{"format": {"prometheus"}}))(t)
	defer raw.Body.Close()
	equal(t, "metrics", []any{raw.StatusCode, strings.HasPrefix(raw.Header.Get("Content-Type"), "text/plain")}, []any{200, true})

	help := must(c.Help("secret"))(t)
	holds(t, "help", help.Help != "")
}
