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
	return asks(port, user, password, "PING")
}

// asks reports whether a user of a Redis can log in and then have a command run.
func asks(port int, user, password, command string) bool {
	conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = fmt.Fprintf(conn, "AUTH %s %s\r\n%s\r\n", user, password, command)
	from := bufio.NewReader(conn)
	if reply, _ := from.ReadString('\n'); !strings.HasPrefix(reply, "+OK") {
		return false
	}
	if command == "PING" {
		return true // whether it may
	}
	reply, _ := from.ReadString('\n')
	return strings.HasPrefix(reply, "+")
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

// TestRowsOfADatabase calls each path of the engine as the clients do, and looks
// for the fields that they read.
func TestRowsOfADatabase(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	const path = "rows-database"
	port, user := cache(t, c, path)
	l := c.Logical()
	equal(t, "connections", list(t, must(l.List(path+"/config"))(t), "keys"), []string{"cache"})
	config := must(l.Read(path + "/config/cache"))(t).Data
	equal(t, "plugin", config["plugin_name"], any("redis-database-plugin"))
	equal(t, "allowed roles", config["allowed_roles"], any([]any{"app"}))
	details, _ := config["connection_details"].(object)
	equal(t, "user of the connection", details["username"], any("default"))
	_, told := details["password"]
	holds(t, "no password is told", !told)
	_, err := l.Write(path+"/config/other", object{"plugin_name": "no-database-plugin"})
	refused(t, err, http.StatusBadRequest, "plugin_name")

	equal(t, "roles", list(t, must(l.List(path+"/roles"))(t), "keys"), []string{"app"})
	role := must(l.Read(path + "/roles/app"))(t).Data
	equal(t, "the role's connection", role["db_name"], any("cache"))
	equal(t, "seconds of the role", number(t, role["default_ttl"]), int64(2))
	equal(t, "most of the role", number(t, role["max_ttl"]), int64(3600))
	equal(t, "type of the role", role["credential_type"], any("password"))
	_, err = l.Read(path + "/creds/nobody")
	refused(t, err, http.StatusBadRequest, "nobody")
	must(l.Write(path+"/roles/forbidden", object{"db_name": "cache", "creation_statements": `["+@read"]`}))(t)
	_, err = l.Read(path + "/creds/forbidden")
	refused(t, err, http.StatusBadRequest, "forbidden")
	must(l.Delete(path + "/roles/forbidden"))(t)
	equal(t, "roles left", list(t, must(l.List(path+"/roles"))(t), "keys"), []string{"app"})
	gone := must(l.Read(path + "/roles/forbidden"))(t)
	holds(t, "a role that is gone reads as nothing", gone == nil)

	longer := must(l.ReadWithData(path+"/creds/app", map[string][]string{"ttl": {"30m"}}))(t)
	equal(t, "asked for", longer.LeaseDuration, 1800)
	check(t, c.Sys().Revoke(longer.LeaseID))
	s := user()
	must(l.Write(path+"/reset/cache", nil))(t)
	must(l.Write(path+"/reload/redis-database-plugin", nil))(t)
	holds(t, "a reset leaves users", in(port, s))
	must(l.Write("sys/leases/revoke", object{"lease_id": s.LeaseID, "sync": true}))(t)
	holds(t, "revoked by its path", !in(port, s))
}

func TestStaticRolesOfADatabase(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	const path = "static-database"
	port, user := cache(t, c, path)
	l := c.Logical()
	must(l.Write(path+"/config/cache", object{"allowed_roles": "app,kept"}))(t)
	holds(t, "there is a user", asks(port, "default", redisPassword, "ACL SETUSER kept on >before +@read"))
	must(l.Write(path+"/static-roles/kept", object{"db_name": "cache", "username": "kept", "rotation_period": "24h"}))(t)
	equal(t, "static roles", list(t, must(l.List(path+"/static-roles"))(t), "keys"), []string{"kept"})
	role := must(l.Read(path + "/static-roles/kept"))(t).Data
	equal(t, "the role's user", role["username"], any("kept"))
	equal(t, "the role's connection", role["db_name"], any("cache"))
	equal(t, "the role's period", number(t, role["rotation_period"]), int64(86400))
	creds := func() (password string) {
		t.Helper()
		s := must(l.Read(path + "/static-creds/kept"))(t)
		equal(t, "no lease", s.LeaseID, "")
		equal(t, "the user", s.Data["username"], any("kept"))
		equal(t, "the period", number(t, s.Data["rotation_period"]), int64(86400))
		left := number(t, s.Data["ttl"])
		holds(t, "what is left of the period", left > 86000 && left <= 86400)
		at, _ := s.Data["last_vault_rotation"].(string)
		must(time.Parse(time.RFC3339Nano, at))(t)
		password, _ = s.Data["password"].(string)
		holds(t, "the password logs in", logsIn(port, "kept", password))
		return password
	}
	first := creds()
	holds(t, "the password of before does not", !logsIn(port, "kept", "before"))
	must(l.Write(path+"/rotate-role/kept", nil))(t)
	second := creds()
	holds(t, "another password, and it alone", second != first && !logsIn(port, "kept", first))
	must(l.Delete(path + "/static-roles/kept"))(t)
	holds(t, "the user stays", logsIn(port, "kept", second))
	gone := must(l.Read(path + "/static-roles/kept"))(t)
	holds(t, "the role does not", gone == nil)

	must(l.Write(path+"/rotate-root/cache", nil))(t)
	holds(t, "nobody else knows the password", !logsIn(port, "default", redisPassword))
	s := user()
	_, err := l.Delete(path + "/config/cache")
	refused(t, err, http.StatusBadRequest, "force")
	check(t, c.Sys().Revoke(s.LeaseID))
	must(l.Delete(path + "/config/cache"))(t)
	left := must(l.List(path + "/config"))(t)
	holds(t, "no connection is left", left == nil)
}
