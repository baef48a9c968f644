package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/coffer-secrets/coffer/engines/database"
	"github.com/coffer-secrets/coffer/engines/database/redis"
	"github.com/coffer-secrets/coffer/testing/redisserver"
)

// server is one for all tests of the package.
var server *redisserver.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = redisserver.Start(); err != nil {
		panic(err)
	}
	defer func() { _ = server.Close() }()
	m.Run()
}

// login opens one connection of a user.
func login(t *testing.T, at *redisserver.Server, user, password string) (*client.Conn, error) {
	t.Helper()
	c := client.NewClient(&client.Options{Addr: at.Address(), Username: user, Password: password, MaxRetries: -1, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	conn := c.Conn()
	err := conn.Do(t.Context(), "ACL", "WHOAMI").Err()
	if client.HasErrorPrefix(err, "NOPERM") {
		err = nil // it is in
	}
	return conn, err
}

func admin(t *testing.T, at *redisserver.Server) *client.Conn {
	t.Helper()
	conn, err := login(t, at, redisserver.Admin, redisserver.Password)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// there are the users of a server that begin like this.
func there(t *testing.T, at *redisserver.Server, prefix string) []string {
	t.Helper()
	list, err := admin(t, at).Do(t.Context(), "ACL", "USERS").StringSlice()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

func settings(at *redisserver.Server, user string, passwords ...string) *database.Settings {
	return &database.Settings{
		Username: user, Passwords: passwords, MaxOpen: 4, MaxIdle: 4,
		Options: map[string]string{"host": at.Host, "port": strconv.Itoa(at.Port())},
	}
}

func open(t *testing.T, s *database.Settings) database.Database {
	t.Helper()
	db, err := redis.Plugin().Open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func opened(t *testing.T) database.Database {
	t.Helper()
	return open(t, settings(server, redisserver.Admin, redisserver.Password))
}

func user(name string, statements ...string) *database.User {
	return &database.User{Name: name, Password: "pass-" + name, Expires: time.Now().Add(time.Hour), Statements: statements}
}

func TestLifeOfUser(t *testing.T) {
	t.Parallel()
	db := opened(t)
	if err := db.Create(t.Context(), user("v-life", `["~app:{{name}}:*", "+@read", "+set"]`)); err != nil {
		t.Fatal(err)
	}
	conn, err := login(t, server, "v-life", "pass-v-life")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Set(t.Context(), "app:v-life:x", 1, 0).Err(); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"app:other:x", "x"} {
		if err := conn.Set(t.Context(), key, 1, 0).Err(); err == nil {
			t.Errorf("the user may write %s", key)
		}
	}
	if err := db.Extend(t.Context(), user("v-life")); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: "v-life"}, {Name: "never-made"}})...); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Get(t.Context(), "app:v-life:x").Err(); err == nil {
		t.Error("a connection outlives its user")
	}
	if len(there(t, server, "v-life")) != 0 {
		t.Error("the user is there")
	}
}

// TestKept kills the server: who was made is there again, and who was revoked is
// not.
func TestKept(t *testing.T) {
	t.Parallel()
	own, err := redisserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	db := open(t, settings(own, redisserver.Admin, redisserver.Password))
	for _, name := range []string{"v-stays", "v-goes"} {
		if err := db.Create(t.Context(), user(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: "v-goes"}})...); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(own.Stop(), own.Resume()); err != nil {
		t.Fatal(err)
	}
	if got := there(t, own, "v-"); !slices.Equal(got, []string{"v-stays"}) {
		t.Errorf("there are %q", got)
	}
	conn, err := login(t, own, "v-stays", "pass-v-stays")
	if err != nil || conn.Get(t.Context(), "x").Err() != client.Nil {
		t.Errorf("by default a user cannot read: %v", err)
	}
}

func TestPersistence(t *testing.T) {
	t.Parallel()
	for mode, ok := range map[string]bool{"NONE": true, "ACLFILE": true, "": true, "REWRITE": false} { // there is no file of settings
		s := settings(server, redisserver.Admin, redisserver.Password)
		s.Options["persistence_mode"] = mode
		name := "v-mode-" + mode
		err := open(t, s).Create(t.Context(), user(name))
		var refused *database.Refusal
		if (err == nil) != ok || err != nil && !errors.As(err, &refused) || (len(there(t, server, name)) > 0) != ok && mode != "" {
			t.Errorf("%q: %v", mode, err)
		}
	}
}

func TestRevokeMany(t *testing.T) {
	t.Parallel()
	db := opened(t)
	var gone []database.User
	for i := range 40 {
		name := fmt.Sprintf("v-many-%d", i)
		if err := db.Create(t.Context(), user(name)); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, database.User{Name: name})
	}
	gone = append(gone, database.User{Name: redisserver.Admin}, database.User{Name: "default"})
	for i, err := range db.Revoke(t.Context(), gone) {
		var refused *database.Refusal
		if ours := i >= 40; ours != errors.As(err, &refused) || !ours && err != nil {
			t.Errorf("%s: %v", gone[i].Name, err)
		}
	}
	if left := there(t, server, "v-many"); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}

// TestLate is about who was to make a user and comes too late: revoking the user
// ends its connection.
func TestLate(t *testing.T) {
	t.Parallel()
	db := opened(t)
	late := admin(t, server)
	if err := late.ClientSetName(t.Context(), redis.Mark("v-late")).Err(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: "v-late"}})...); err != nil {
		t.Fatal(err)
	}
	if err := late.Do(t.Context(), "ACL", "SETUSER", "v-late", "on").Err(); err == nil || len(there(t, server, "v-late")) != 0 {
		t.Error("who comes late makes the user")
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	var untold *database.Unreached
	if err := db.Create(ctx, user("v-late")); !errors.As(err, &untold) {
		t.Errorf("after the deadline: %v", err)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"": {"~*", "+@read"}, `["~a {{name}}", "+get"]`: {"~a n", "+get"}, "~a:{{username}}  +@all": {"~a:n", "+@all"}, "(+get ~a)": {"(+get ~a)"},
	} {
		if got, err := redis.Rules(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"nopass", "NoPass", ">x", "<x", "#00", "!00", "reset", "off", `[1]`, `["a`, `["a\n"]`, `[""]`, strings.Repeat("~a ", 1025)} {
		if got, err := redis.Rules(text); err == nil {
			t.Errorf("%.20s: %q", text, got)
		}
	}
	var refused *database.Refusal
	if err := opened(t).Create(t.Context(), user("v-wrong", "+nosuchcommand")); !errors.As(err, &refused) || len(there(t, server, "v-wrong")) != 0 {
		t.Errorf("a wrong rule: %v", err)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	if err := admin(t, server).Do(t.Context(), "ACL", "SETUSER", "turning", "on", ">old", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	db := open(t, settings(server, "turning", "new", "old"))
	if n, err := db.Verify(t.Context()); n != 1 || err != nil {
		t.Fatalf("password %d, %v", n, err)
	}
	if err := db.Rotate(t.Context(), &database.User{Name: "turning", Password: "new"}); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Verify(t.Context()); n != 0 || err != nil {
		t.Fatalf("password %d, %v", n, err)
	}
	if _, err := login(t, server, "turning", "old"); err == nil {
		t.Error("the old password is good")
	}
	var refused *database.Refusal
	if err := db.Rotate(t.Context(), &database.User{Name: "nobody", Password: "x"}); !errors.As(err, &refused) || len(there(t, server, "nobody")) != 0 {
		t.Errorf("a user that is not there: %v", err)
	}
	_, err := open(t, settings(server, "turning", "wrong-one")).Verify(t.Context())
	if err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	db := opened(t)
	errs := make(chan error)
	const n = 24
	for i := range n {
		go func() { errs <- db.Create(t.Context(), user(fmt.Sprintf("v-crowd-%d", i))) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *database.Settings){
		"no host":       func(s *database.Settings) { s.Options["host"] = "" },
		"a URL as host": func(s *database.Settings) { s.Options["host"] = "redis://x" },
		"no port":       func(s *database.Settings) { s.Options["port"] = "" },
		"a wrong port":  func(s *database.Settings) { s.Options["port"] = "65536" },
		"a URL":         func(s *database.Settings) { s.URL = "redis://x" },
		"no password":   func(s *database.Settings) { s.Passwords = nil },
		"no authority":  func(s *database.Settings) { s.Options["tls"], s.Options["ca_cert"] = "true", "x" },
		"no TLS":        func(s *database.Settings) { s.Options["insecure_tls"] = "true" },
	} {
		s := settings(server, "u", "secret-p")
		change(s)
		if db, err := redis.Plugin().Open(s); err == nil || strings.Contains(err.Error(), "secret-p") {
			t.Errorf("%s: %v %v", name, db, err)
		}
	}
	s := settings(server, redisserver.Admin, redisserver.Password)
	s.Options["tls"] = "true"
	var untold *database.Unreached
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // Redis waits for more of a greeting
	defer cancel()
	if _, err := open(t, s).Verify(ctx); err == nil {
		t.Errorf("goes on without the TLS that it was told to use: %v", err)
	}
	s = settings(server, redisserver.Admin, redisserver.Password)
	s.Options["port"] = "1"
	if err := open(t, s).Create(t.Context(), user("v-away")); !errors.As(err, &untold) {
		t.Errorf("a port where nobody is: %v", err)
	}
}

// TestOvertakes ends who may yet set another password, and then sets its own.
func TestOvertakes(t *testing.T) {
	t.Parallel()
	late := admin(t, server)
	if err := late.Do(t.Context(), "ACL", "SETUSER", "overtakes", "on").Err(); err != nil {
		t.Fatal(err)
	}
	if err := late.ClientSetName(t.Context(), redis.Mark("overtakes")).Err(); err != nil {
		t.Fatal(err)
	}
	if err := opened(t).Rotate(t.Context(), &database.User{Name: "overtakes", Password: "next", Overtake: true}); err != nil {
		t.Fatal(err)
	}
	if err := late.Do(t.Context(), "ACL", "SETUSER", "overtakes", "resetpass", ">late").Err(); err == nil {
		t.Error("who comes late sets a password")
	}
	if _, err := login(t, server, "overtakes", "next"); err != nil {
		t.Errorf("the password is not the last one: %v", err)
	}
}
