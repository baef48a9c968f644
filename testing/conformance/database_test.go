package conformance_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

const redisPassword = "of-these-tests-only"

// startRedis starts a Redis of the test's own.
func startRedis(t *testing.T) (port int) {
	t.Helper()
	daemon, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("these tests need Redis, and find no redis-server: install it (Debian: apt-get install redis-server)")
	}
	for range 5 { // somebody else may take the port first
		l := must(new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)
		port := l.Addr().(*net.TCPAddr).Port
		check(t, l.Close())
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), daemon, "--port", strconv.Itoa(port), "--bind", "127.0.0.1",
			"--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--requirepass", redisPassword)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		check(t, cmd.Start())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait()
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
		})
		if answersIn(ended, port) {
			return port
		}
	}
	t.Fatal("Redis does not start")
	return 0
}

func answersIn(ended <-chan struct{}, port int) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return false
		case <-tick.C:
			if logsIn(port, "default", redisPassword) {
				return true
			}
		}
	}
}

// logsIn reports whether a user of a Redis can log in.
func logsIn(port int, user, password string) bool {
	conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = fmt.Fprintf(conn, "AUTH %s %s\r\n", user, password)
	reply, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(reply, "+OK")
}

// cache mounts a database engine with a role, and returns how a user is made.
func cache(t *testing.T, c *api.Client, path string) (port int, user func() *api.Secret) {
	t.Helper()
	port = startRedis(t)
	check(t, c.Sys().Mount(path, &api.MountInput{Type: "database"}))
	t.Cleanup(func() { _ = c.Sys().Unmount(path) })
	must(c.Logical().Write(path+"/config/cache", object{
		"plugin_name": "redis-database-plugin", "allowed_roles": "app", "host": "127.0.0.1", "port": port, "username": "default", "password": redisPassword,
	}))(t)
	must(c.Logical().Write(path+"/roles/app", object{
		"db_name": "cache", "creation_statements": `["~app:*", "+@read"]`, "default_ttl": "2s", "max_ttl": "1h",
	}))(t)
	return port, func() *api.Secret {
		s := must(c.Logical().Read(path + "/creds/app"))(t)
		holds(t, "the user logs in", in(port, s))
		return s
	}
}

func in(port int, s *api.Secret) bool {
	name, _ := s.Data["username"].(string)
	password, _ := s.Data["password"].(string)
	return logsIn(port, name, password)
}

func TestLeasesOfADatabase(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	const path = "leased-database"
	port, user := cache(t, c, path)
	must(c.Logical().Write(path+"/roles/app", object{"db_name": "cache", "default_ttl": "1h", "max_ttl": "2h"}))(t)
	s := user()
	equal(t, "renewable", s.Renewable, true)
	equal(t, "seconds", s.LeaseDuration, 3600)
	found := must(c.Sys().Lookup(s.LeaseID))(t)
	equal(t, "the lease", found.Data["id"], any(s.LeaseID))
	renewed := must(c.Sys().Renew(s.LeaseID, 5400))(t)
	equal(t, "renewed for", renewed.LeaseDuration, 5400)
	renewed = must(c.Sys().Renew(s.LeaseID, 86400))(t)
	holds(t, "cut to the maximum", renewed.LeaseDuration <= 7200 && len(renewed.Warnings) > 0)
	check(t, c.Sys().Revoke(s.LeaseID))
	holds(t, "gone with the lease", !in(port, s))
	_, err := c.Sys().Lookup(s.LeaseID)
	refused(t, err, http.StatusBadRequest, "invalid lease")
	_, err = c.Sys().Renew(s.LeaseID, 60)
	refused(t, err, http.StatusBadRequest, "lease not found")
	for name, revoke := range map[string]func(s *api.Secret) error{
		"prefix": func(*api.Secret) error { return c.Sys().RevokePrefix(path + "/creds/app") },
		"sync": func(s *api.Secret) error {
			return c.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: s.LeaseID, Sync: true})
		},
		"prefix and sync": func(*api.Secret) error {
			return c.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: path, Prefix: true, Sync: true})
		},
	} {
		one, two := user(), user()
		check(t, revoke(one))
		holds(t, name, !in(port, one))
		if name == "sync" {
			holds(t, "the other stays", in(port, two))
			check(t, c.Sys().Revoke(two.LeaseID))
		}
		holds(t, name, !in(port, two))
	}
	left := user()
	check(t, c.Sys().RevokeForce(path+"/creds"))
	_, err = c.Sys().Lookup(left.LeaseID)
	refused(t, err, http.StatusBadRequest, "invalid lease")
	holds(t, "forgotten is not removed", in(port, left))
}

// A lease that a watcher renews outlives its first end, and ends without it.
func TestWatcherOfALease(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	port, user := cache(t, c, "watched-database")
	s := user()
	w := must(c.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: s, Increment: 2}))(t)
	go w.Start()
	timeout := time.After(patience)
	began := time.Now()
	for renewals := 0; renewals < 3; {
		select {
		case err := <-w.DoneCh():
			t.Fatalf("the watcher ended: %v", err)
		case renewed := <-w.RenewCh():
			equal(t, "renewed", renewed.Secret.LeaseID, s.LeaseID)
			renewals++
		case <-timeout:
			t.Fatalf("after %d renewals the watcher is silent", renewals)
		}
	}
	w.Stop()
	holds(t, "longer than it would have lived", time.Since(began) > 2*time.Second)
	holds(t, "the user lives", in(port, s))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for in(port, s) {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("the user outlives its lease")
		}
	}
}
