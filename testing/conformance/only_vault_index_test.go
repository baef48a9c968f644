//go:build !openbao

package conformance_test

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
)

// A client that wants to read its own writes brings along what their answers
// said, and is told when the node does not have it.
func TestIndexIsBroughtAlong(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	c.SetReadYourWrites(true)
	var brought []string
	c = c.WithResponseCallbacks(func(r *vault.Response) { brought = r.Request.Header["X-Vault-Index"] })
	must(c.KVv2("secret").Put(t.Context(), "own-writes", object{"k": "v"}))(t)
	must(c.KVv2("secret").Get(t.Context(), "own-writes"))(t)
	if len(brought) != 1 {
		t.Fatalf("the client brings %q", brought)
	}
	state := must(vault.ParseReplicationState(brought[0], nil))(t)
	holds(t, "index", state.LocalIndex > 0 && state.LocalIndex == state.ReplicatedIndex)
	must(c.KVv2("secret").Put(t.Context(), "own-writes", object{"k": "w"}))(t)
	var told string
	must(c.WithResponseCallbacks(vault.RecordState(&told)).KVv2("secret").Put(t.Context(), "own-writes", object{"k": "x"}))(t)
	later := must(vault.ParseReplicationState(told, nil))(t)
	holds(t, "a later index", later.LocalIndex > state.LocalIndex)

	future := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "v1:%s:%d:%d:", later.ClusterID, later.LocalIndex+1_000_000, later.LocalIndex+1_000_000))
	c = dev.client(t)
	c.SetMaxRetries(0)
	c.SetClientTimeout(time.Minute)
	_, err := c.WithRequestCallbacks(vault.RequireState(future)).KVv2("secret").Get(t.Context(), "own-writes")
	refused(t, err, 412, "required index state not present")
}
