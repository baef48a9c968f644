package conformance_test

import (
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// watch starts a watcher and returns it with the number of renewals that it has
// made when it ends or when enough have been made.
func watch(t *testing.T, c *api.Client, in *api.LifetimeWatcherInput, enough int) (renewals int, err error) {
	t.Helper()
	w := must(c.NewLifetimeWatcher(in))(t)
	go w.Start()
	defer w.Stop()
	timeout := time.After(patience)
	for renewals < enough {
		select {
		case err := <-w.DoneCh():
			return renewals, err
		case renewed := <-w.RenewCh():
			equal(t, "renewed", renewed.Secret.Auth.ClientToken, in.Secret.Auth.ClientToken)
			holds(t, "at the present", time.Since(renewed.RenewedAt).Abs() < time.Minute)
			renewals++
		case <-timeout:
			t.Fatalf("after %d renewals the watcher is silent", renewals)
		}
	}
	return renewals, nil
}

func TestWatcherKeepsATokenAlive(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	made := must(c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "2s", Period: "2s"}))(t)
	began := time.Now()
	renewals, err := watch(t, as(t, c, made.Auth.ClientToken), &api.LifetimeWatcherInput{Secret: made}, 3)
	check(t, err)
	equal(t, "renewals", renewals, 3)
	holds(t, "longer than it would have lived", time.Since(began) > 2*time.Second)
	must(as(t, c, made.Auth.ClientToken).Auth().Token().LookupSelf())(t)
}

func TestWatcherEndsWithAToken(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	made := must(c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "2s", ExplicitMaxTTL: "3s"}))(t)
	renewals, err := watch(t, as(t, c, made.Auth.ClientToken), &api.LifetimeWatcherInput{Secret: made}, 1000)
	check(t, err)
	holds(t, "renewed before", renewals > 0 && renewals < 1000)
}

// Vault's client waits for the end of a token that it may not renew, OpenBao's
// gives up with the error.
func TestWatcherOfARevokedToken(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	made := must(c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "1s"}))(t)
	check(t, c.Auth().Token().RevokeTree(made.Auth.ClientToken))
	renewals, err := watch(t, as(t, c, made.Auth.ClientToken), &api.LifetimeWatcherInput{
		Secret: made, RenewBehavior: api.RenewBehaviorErrorOnErrors,
	}, 1)
	equal(t, "renewals", renewals, 0)
	if err != nil {
		refused(t, err, 403, "permission denied")
	}
}
