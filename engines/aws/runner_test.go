package aws_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestRotation: what requests order is done by the leader's runner, and they wait
// for it.
func TestRotation(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s, f := started(t, kit.At(clock))
	f.AddUser("app")
	before := f.Keys(awsfake.RootUser)
	r := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "aws/config/rotate-root"})
	if after := f.Keys(awsfake.RootUser); slices.Equal(before, after) || !slices.Equal(after, []string{r.Text("data", "access_key")}) {
		t.Errorf("the keys were %q, are %q, and the answer is %s", before, after, r.Raw)
	}
	s.Put("aws/static-roles/app", body{"username": "app", "rotation_period": "24h"})
	first := s.Get("aws/static-creds/app")
	if caller(t, f, first) == "" {
		t.Error("the first key is not taken")
	}
	clock.Advance(25 * time.Hour)
	settle(t, clock, "the key was changed", func() bool {
		return s.Get("aws/static-creds/app").Text("data", "access_key") != first.Text("data", "access_key")
	})
	s.Delete("aws/static-roles/app")
	if keys := f.Keys("app"); !slices.Equal(keys, []string{first.Text("data", "access_key")}) {
		t.Errorf("the keys are %q", keys)
	}
	f.Deny("CreateAccessKey")
	refused(t, s, http.StatusBadRequest, "AccessDenied", kit.Request{Method: http.MethodPut, Path: "aws/static-roles/app", Body: body{"username": "app", "rotation_period": "24h"}})
	s.Must(http.StatusNotFound, kit.Request{Path: "aws/static-roles/app"})
	refused(t, s, http.StatusBadRequest, "AccessDenied", kit.Request{Method: http.MethodPut, Path: "aws/config/rotate-root"})
}

// TestRotationDeposed changes the leader at every step of a rotation: the next
// leader brings it to its end, and the key that is stored is the one that works.
func TestRotationDeposed(t *testing.T) {
	t.Parallel()
	c, f, clock := cluster(t)
	f.AddUser("app")
	for i, step := range []awsfake.Step{
		{Action: "ListAccessKeys", Done: true}, {Action: "CreateAccessKey"}, {Action: "CreateAccessKey", Done: true},
		{Action: "GetCallerIdentity"}, {Action: "DeleteAccessKey"}, {Action: "DeleteAccessKey", Done: true},
	} {
		var once sync.Once
		f.On(func(_ context.Context, s awsfake.Step) *awsfake.Error {
			if s.User = ""; s == step {
				once.Do(func() { depose(c, i) })
			}
			return nil
		})
		before := f.Keys(awsfake.RootUser)
		c.Nodes[i%3].Do(kit.Request{Method: http.MethodPut, Path: "aws/config/rotate-root"})
		f.On(nil)
		settle(t, clock, "one key is left, which is stored, after "+step.Action, func() bool {
			r := c.Leader().Do(kit.Request{Path: "aws/config/root"})
			keys := f.Keys(awsfake.RootUser)
			return !slices.Equal(keys, before) && slices.Equal(keys, []string{r.Text("data", "access_key")})
		})
		if got := made(t, c, clock); caller(t, f, got) == "" {
			t.Errorf("the key does not work: %s", got.Raw)
		}
	}
}
