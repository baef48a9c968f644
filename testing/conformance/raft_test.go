package conformance_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// TestRaft has a second node join by the official client, and saves and
// restores snapshots by it.
func TestRaft(t *testing.T) {
	t.Parallel()
	first, shares := unsealed(t, 1, 1)
	c := first.client(t)
	sys := c.Sys()

	dir := t.TempDir()
	file := filepath.Join(dir, "coffer.hcl")
	text := fmt.Sprintf("storage \"raft\" {\n  path = %q\n  node_id = \"second\"\n}\nlistener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}\n", filepath.Join(dir, "data"))
	check(t, os.WriteFile(file, []byte(text), 0o600))
	second := must(start("server", "-config="+file))(t)
	t.Cleanup(func() { check(t, second.stop()) })
	second.token = first.token
	other := second.client(t)
	_, err := other.Sys().RaftJoin(&api.RaftJoinRequest{AutoJoin: "provider=aws"})
	refused(t, err, 400, "auto_join")
	holds(t, "joined", must(other.Sys().RaftJoin(&api.RaftJoinRequest{LeaderAPIAddr: first.address, NonVoter: true}))(t).Joined)
	holds(t, "unsealed", !must(other.Sys().Unseal(shares[0]))(t).Sealed)

	config := must(sys.RaftAutopilotConfiguration())(t)
	equal(t, "stabilisation", config.ServerStabilizationTime, 10*time.Second)
	config.ServerStabilizationTime, config.MaxTrailingLogs = time.Second, 99
	check(t, sys.PutRaftAutopilotConfiguration(config))
	equal(t, "configuration", must(sys.RaftAutopilotConfiguration())(t), config)
	state := must(sys.RaftAutopilotState())(t)
	equal(t, "leader", state.Leader, "node")
	equal(t, "non-voters", state.NonVoters, []string{"second"})
	equal(t, "status", state.Servers["second"].Status, "non-voter")

	must(c.Logical().Write("sys/mounts/kv", object{"type": "kv"}))(t)
	must(c.Logical().Write("kv/a", object{"k": "old"}))(t)
	var saved bytes.Buffer
	check(t, other.Sys().RaftSnapshot(&saved))
	must(c.Logical().Write("kv/a", object{"k": "new"}))(t)
	check(t, sys.RaftSnapshotRestore(bytes.NewReader(saved.Bytes()), false))
	equal(t, "restored", must(c.Logical().Read("kv/a"))(t).Data["k"], any("old"))
	check(t, sys.RaftSnapshotRestore(bytes.NewReader(saved.Bytes()), true))
	err = sys.RaftSnapshotRestore(bytes.NewReader(saved.Bytes()[:saved.Len()-9]), false)
	refused(t, err, 400, "not a whole")
}
