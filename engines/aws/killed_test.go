package aws_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/harness"
)

// TestLeaderKilled ends the process of the leader, as a loss of power would, in
// the middle of making and of removing users: once things settle, none is left.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	f := account(t)
	c := harness.StartCluster(t, 3, harness.Options{})
	id, secret := f.Key(awsfake.RootUser)
	n := c.Nodes[0]
	n.Root(http.MethodPost, "sys/mounts/aws", body{"type": "aws"})
	n.Root(http.MethodPut, "aws/config/root", body{"access_key": id, "secret_key": secret, "iam_endpoint": f.URL, "sts_endpoint": f.URL})
	n.Root(http.MethodPut, "aws/roles/dev", body{"credential_type": "iam_user", "policy_arns": readOnly, "policy_document": document, "iam_groups": "devs"})
	for _, step := range []awsfake.Step{
		{Action: "CreateUser"}, {Action: "CreateUser", Done: true}, {Action: "AttachUserPolicy", Done: true}, {Action: "CreateAccessKey", Done: true},
		{Action: "DeleteAccessKey", Done: true}, {Action: "DetachUserPolicy", Done: true}, {Action: "DeleteUser"}, {Action: "DeleteUser", Done: true},
	} {
		began := time.Now()
		leader := c.Leader()
		client := c.Followers(leader)[0]
		var lease string
		if step.Action[0] == 'D' {
			lease, _ = client.Root(http.MethodGet, "aws/creds/dev", nil)["lease_id"].(string)
		}
		var killed atomic.Bool
		f.On(func(_ context.Context, s awsfake.Step) *awsfake.Error {
			if s.User = ""; s == step && killed.CompareAndSwap(false, true) {
				leader.Kill()
			}
			return nil
		})
		if lease == "" {
			client.Do(http.MethodGet, "aws/creds/dev", client.RootToken, nil)
		} else {
			client.Do(http.MethodPut, "sys/leases/revoke", client.RootToken, body{"lease_id": lease, "sync": true})
		}
		t.Logf("killed at %+v after %s", step, time.Since(began))
		f.On(nil)
		if !killed.Load() {
			t.Errorf("%v did not come", step)
			continue
		}
		leader.Restart()
		c.Unseal(leader)
		t.Logf("unsealed after %s", time.Since(began))
	}
	c.Leader().Root(http.MethodPut, "sys/leases/revoke-prefix/aws", body{"sync": true})
	c.Await("the end of all users", func() bool { return len(f.Users()) == 0 })
	status, answer := c.Leader().Do("LIST", "sys/leases/lookup/aws/creds/dev", n.RootToken, nil)
	var left struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer, &left); status != http.StatusNotFound && (err != nil || len(left.Data.Keys) > 4) {
		t.Errorf("the leases are %s", answer) // those that may still be made are looked after once more
	}
}
