package aws_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/harness"
)

// TestLeaderKilledRotating ends the process of the leader, as a loss of power
// would, at every step of changing keys: once things settle, AWS has the keys that
// are stored, and no others.
func TestLeaderKilledRotating(t *testing.T) {
	t.Parallel()
	f := account(t)
	c := harness.StartCluster(t, 3, harness.Options{})
	id, secret := f.Key(awsfake.RootUser)
	n := c.Nodes[0]
	n.Root(http.MethodPost, "sys/mounts/aws", body{"type": "aws"})
	n.Root(http.MethodPut, "aws/config/root", body{"access_key": id, "secret_key": secret, "iam_endpoint": f.URL, "sts_endpoint": f.URL})
	stored := func(path string) string {
		status, answer := c.Leader().Do(http.MethodGet, path, n.RootToken, nil)
		if status != http.StatusOK {
			return ""
		}
		_, rest, _ := strings.Cut(string(answer), `"access_key":"`)
		key, _, _ := strings.Cut(rest, `"`)
		return key
	}
	steps := []awsfake.Step{
		{Action: "ListAccessKeys", Done: true}, {Action: "CreateAccessKey"}, {Action: "CreateAccessKey", Done: true},
		{Action: "GetCallerIdentity", Done: true}, {Action: "DeleteAccessKey"}, {Action: "DeleteAccessKey", Done: true},
	}
	for i, step := range steps {
		for _, user := range []string{awsfake.RootUser, "app"} {
			if user == "app" && step.Action == "DeleteAccessKey" {
				continue // the first key of a user takes the place of none
			}
			leader := c.Leader()
			client := c.Followers(leader)[i%2]
			var killed atomic.Bool
			f.On(func(_ context.Context, s awsfake.Step) *awsfake.Error {
				if s.User = ""; s == step && killed.CompareAndSwap(false, true) {
					leader.Kill()
				}
				return nil
			})
			var status int
			var answer []byte
			path, before := "aws/config/root", f.Keys(user)
			if user == "app" {
				f.DropUser(user)
				f.AddUser(user)
				path = "aws/static-creds/app"
				status, answer = client.Do(http.MethodPut, "aws/static-roles/app", n.RootToken, body{"username": "app", "rotation_period": "24h"})
			} else {
				status, answer = client.Do(http.MethodPut, "aws/config/rotate-root", n.RootToken, nil)
			}
			f.On(nil)
			if !killed.Load() {
				t.Errorf("%s: %v did not come: %d %s", user, step, status, answer)
				continue
			}
			c.Await("the key that is stored is the only one", func() bool {
				keys := f.Keys(user)
				return !slices.Equal(keys, before) && slices.Equal(keys, []string{stored(path)})
			})
			if user == "app" {
				c.Leader().Root(http.MethodDelete, "aws/static-roles/app", nil)
				if keys := f.Keys(user); len(keys) > 0 {
					t.Errorf("after %v the static role left %q", step, keys)
				}
			}
			leader.Restart()
			c.Unseal(leader)
		}
	}
}
