package aws_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	engine "github.com/coffer-secrets/coffer/engines/aws"
	"github.com/coffer-secrets/coffer/engines/enginetest"
	"github.com/coffer-secrets/coffer/testing/awsfake"
)

// mount is one of the engine, with what calls Due.
type mount struct {
	t *testing.T
	f *awsfake.Fake
	h *enginetest.Harness
	// store is shared by those who come one after the other.
	store *enginetest.Store

	mu  sync.Mutex
	now time.Time
	// crash, if set, is called before and after what could be the last of a node,
	// and ends it if it says so.
	crash func() bool
	end   context.CancelFunc
	e     *engines.Engine
}

func newMount(t *testing.T, f *awsfake.Fake) *mount {
	t.Helper()
	m := &mount{t: t, f: f}
	m.start()
	m.store, m.now = m.h.Store, m.h.Now
	f.On(func(context.Context, awsfake.Step) *awsfake.Error {
		m.point()
		return nil
	})
	return m
}

// start has another node lead.
func (m *mount) start() {
	m.e = engine.New()
	m.h = enginetest.Mount(m.t, m.e, nil)
	m.h.Random = true
	if m.store != nil {
		m.h.Store, m.h.Now = m.store, m.now
	}
}

// point is where a node may end.
func (m *mount) point() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crash != nil && m.crash() {
		m.crash = nil
		m.end()
		return true
	}
	return false
}

var errDead = errors.New("the node is gone")

func (m *mount) reach(ctx context.Context) *engines.Reach {
	return &engines.Reach{
		Mount: m.h.Info, Now: func() time.Time { return m.now },
		Look: func(fn func(tx engines.Tx) error) error { return fn(m.store.Begin()) },
		Change: func(_ context.Context, fn func(tx engines.Tx) error) error {
			tx := m.store.Begin()
			if m.point(); ctx.Err() != nil {
				return errDead
			}
			if err := fn(tx); err != nil {
				return err
			}
			if err := tx.Commit(); err != nil {
				return err
			}
			if m.point() {
				return errDead
			}
			return nil
		},
	}
}

// due calls Due for all that is due, and says whether anything was, and how it
// went.
func (m *mount) due() (was bool, err error) {
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	m.end = cancel
	for name, at := range m.store.Scheduled() {
		if !at.IsZero() && !at.After(m.now) {
			was = true
			err = errors.Join(err, m.e.Due(ctx, m.reach(ctx), name))
		}
	}
	return was, err
}

// do asks for something, and has what it orders done once.
func (m *mount) do(op engines.Operation, path string, b any) (*engines.Response, error) {
	m.t.Helper()
	type answer struct {
		resp *engines.Response
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		resp, err := m.h.Do(op, path, b, nil)
		got <- answer{resp, err}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for done := false; ; {
		select {
		case a := <-got:
			return a.resp, a.err
		case <-tick.C:
			if !done {
				done, _ = m.due()
			}
		}
	}
}

func (m *mount) must(op engines.Operation, path string, b any) map[string]any {
	m.t.Helper()
	resp, err := m.do(op, path, b)
	if err != nil {
		m.t.Fatalf("%s %s: %v", op, path, err)
	}
	if resp == nil || resp.Data == nil {
		return nil
	}
	return enginetest.Data(m.t, resp)
}

// finish has leaders finish what is due.
func (m *mount) finish() {
	m.t.Helper()
	var last error
	for range 10 {
		was, err := m.due()
		if !was {
			return
		}
		last = err
	}
	m.t.Fatalf("it does not come to an end: %v", last)
}

func (m *mount) root(changes body) body {
	m.t.Helper()
	for _, key := range m.f.Keys(awsfake.RootUser) {
		m.t.Fatalf("there is a key: %s", key)
	}
	id, secret := m.f.Key(awsfake.RootUser)
	row := with(body{"access_key": id, "secret_key": secret, "iam_endpoint": m.f.URL, "sts_endpoint": m.f.URL}, changes)
	m.must(engines.Update, "config/root", row)
	return row
}

// sound wants the key of config/root to be the only one, and taken.
func (m *mount) sound() string {
	m.t.Helper()
	id := fmt.Sprint(m.must(engines.Read, "config/root", nil)["access_key"])
	if keys := m.f.Keys(awsfake.RootUser); !slices.Equal(keys, []string{id}) {
		m.t.Errorf("the keys are %q, and config/root has %q", keys, id)
	}
	m.must(engines.Update, "static-roles/probe", body{"username": "app", "rotation_period": "1h"})
	m.must(engines.Delete, "static-roles/probe", nil)
	return id
}

func TestRotateRoot(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	f.Lag(2)
	m := newMount(t, f)
	if _, err := m.h.Do(engines.Update, "config/rotate-root", nil, nil); engines.KindOf(err) != engines.KindInvalid {
		t.Errorf("without a key: %v", err)
	}
	m.root(nil)
	before := m.sound()
	got := m.must(engines.Update, "config/rotate-root", nil)["access_key"]
	if after := m.sound(); after == before || got != after {
		t.Errorf("it was %s, is %s, and the answer says %v", before, after, got)
	}
	f.Deny("CreateAccessKey")
	if _, err := m.do(engines.Update, "config/rotate-root", nil); engines.KindOf(err) != engines.KindInvalid || len(m.store.Scheduled()) > 0 {
		t.Errorf("without permission: %v, and there is due %v", err, m.store.Scheduled())
	}
	f.Key(awsfake.RootUser)
	if _, err := m.h.Do(engines.Update, "config/rotate-root", nil, nil); engines.KindOf(err) != engines.KindInvalid || !strings.Contains(err.Error(), "only key") {
		t.Errorf("with another key: %v", err)
	}
}

// TestRotateByItself: the key is changed when its period is over.
func TestRotateByItself(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	m := newMount(t, f)
	m.root(body{"rotation_period": "1h"})
	before := m.sound()
	for range 2 {
		m.now = m.now.Add(59 * time.Minute)
		m.finish()
		if m.sound() != before {
			t.Error("it was changed before its time")
		}
		m.now = m.now.Add(2 * time.Minute)
		m.finish()
		after := m.sound()
		if after == before {
			t.Error("it was not changed in time")
		}
		before = after
	}
	m.h.Now = m.now
	m.must(engines.Update, "config/root", body{"iam_endpoint": f.URL})
	if at := m.store.Scheduled()["root"]; !at.IsZero() {
		t.Errorf("it is still scheduled for %s", at)
	}
}

// TestRotateRootKilled ends the node at every point of a rotation: the next one
// brings it to its end.
func TestRotateRootKilled(t *testing.T) {
	t.Parallel()
	for stop := 0; ; stop++ {
		f := account(t)
		f.AddUser("app")
		m := newMount(t, f)
		m.root(nil)
		before := m.sound()
		n := -1
		m.mu.Lock()
		m.crash = func() bool { n++; return n == stop+2 } // two are those of the request's own call
		m.mu.Unlock()
		_, err := m.do(engines.Update, "config/rotate-root", nil)
		m.mu.Lock()
		over := m.crash != nil
		m.crash = nil
		m.mu.Unlock()
		m.start()
		m.finish()
		if after := m.sound(); after == before {
			t.Errorf("stopped at %d: the key was not changed", stop)
		}
		if over {
			if err != nil || stop < 12 {
				t.Errorf("it came to its end after %d points: %v", stop, err)
			}
			return
		}
	}
}

func TestStaticRoles(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	old, _ := f.Key("app")
	older := old
	old, _ = f.Key("app")
	m := newMount(t, f)
	m.root(nil)
	role := m.must(engines.Update, "static-roles/app", body{"username": "app", "rotation_period": "24h"})
	if fmt.Sprint(role["rotation_period"], role["username"], role["name"]) != fmt.Sprint("86400", "app", "app") || role["id"] == "" {
		t.Errorf("it is %v", role)
	}
	creds := m.must(engines.Read, "static-creds/app", nil)
	if got := f.Keys("app"); !slices.Equal(got, []string{old, fmt.Sprint(creds["access_key"])}) {
		t.Errorf("the keys are %q: %s was the oldest, then %s", got, older, old)
	}
	if at := fmt.Sprint(creds["expiration"]); at != m.now.Add(24*time.Hour).UTC().Format(time.RFC3339) {
		t.Errorf("it ends at %s", at)
	}
	m.now = m.now.Add(25 * time.Hour)
	m.finish()
	next := m.must(engines.Read, "static-creds/app", nil)
	if got := f.Keys("app"); !slices.Equal(got, []string{fmt.Sprint(creds["access_key"]), fmt.Sprint(next["access_key"])}) {
		t.Errorf("after a day the keys are %q", got)
	}
	m.h.Now = m.now
	m.must(engines.Update, "static-roles/app", body{"rotation_period": "1h"})
	if at := m.store.Scheduled()["static/app"]; !at.Equal(m.now.Add(time.Hour)) {
		t.Errorf("with another period it is due at %s, now is %s", at, m.now)
	}
	if names := m.must(engines.List, "static-roles", nil)["keys"]; fmt.Sprint(names) != "[app]" {
		t.Errorf("the names are %v", names)
	}
	m.must(engines.Delete, "static-roles/app", nil)
	if got := f.Keys("app"); !slices.Equal(got, []string{fmt.Sprint(creds["access_key"])}) || len(f.Users("app")) != 0 || len(m.store.Scheduled()) != 0 {
		t.Errorf("the keys are %q, and there is still due %v", got, m.store.Scheduled())
	}
	for _, path := range []string{"static-roles/app", "static-creds/app"} {
		if _, err := m.h.Do(engines.Read, path, nil, nil); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

// TestStaticRefused: what is refused is not kept, and names the field.
func TestStaticRefused(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	m := newMount(t, f)
	m.root(nil)
	for want, role := range map[string]body{
		"username has to be":                  {"rotation_period": "1h"},
		"username: AWS refused: NoSuchEntity": {"username": "nobody", "rotation_period": "1h"},
		"rotation_period has to be":           {"username": "app", "rotation_period": "30s"},
		"assume_role_arn and assume_role_":    {"username": "app", "rotation_period": "1h", "assume_role_arn": reader},
		"assume_role_arn: ":                   {"username": "app", "rotation_period": "1h", "assume_role_arn": "x", "assume_role_session_name": "abc"},
		"external_id":                         {"username": "app", "rotation_period": "1h", "external_id": "abc"},
		"username: AWS refused: AccessDenied": {"username": "app", "rotation_period": "1h", "assume_role_arn": reader, "assume_role_session_name": "abc"},
	} {
		if _, err := m.do(engines.Update, "static-roles/app", role); err == nil || !strings.Contains(err.Error(), want) || engines.KindOf(err) != engines.KindInvalid {
			t.Errorf("%v: %v", role, err)
		}
	}
	f.Deny("CreateAccessKey")
	if _, err := m.do(engines.Update, "static-roles/app", body{"username": "app", "rotation_period": "1h"}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("without permission to make a key: %v", err)
	}
	if rows := m.store.Rows(); len(rows) != 1 || len(m.store.Scheduled()) != 0 {
		t.Errorf("what was refused leaves %q and %v", rows, m.store.Scheduled())
	}
}

// TestStaticReplaced: a user who was replaced by another of the name is not
// served.
func TestStaticReplaced(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	m := newMount(t, f)
	m.root(nil)
	admin := "arn:aws:iam::123456789012:role/admin"
	f.AddRole(admin, awsfake.Role{Admin: true, External: "ext"})
	m.must(engines.Update, "static-roles/app", body{
		"username": "app", "rotation_period": "1h", "assume_role_arn": admin, "assume_role_session_name": "abc", "external_id": "ext",
	})
	f.DropUser("app")
	f.AddUser("app")
	m.now = m.now.Add(2 * time.Hour)
	if _, err := m.due(); err == nil || !strings.Contains(err.Error(), "not the one") {
		t.Errorf("got %v", err)
	}
	if _, err := m.do(engines.Update, "static-roles/app", body{"rotation_period": "2h"}); err == nil || !strings.Contains(err.Error(), "not the one") {
		t.Errorf("got %v", err)
	}
	if len(f.Keys("app")) != 0 {
		t.Error("the other user was given a key")
	}
}

// TestStaticKilled ends the node at every point of making and of removing a key.
func TestStaticKilled(t *testing.T) {
	t.Parallel()
	for _, op := range []engines.Operation{engines.Update, engines.Delete} {
		for stop := 0; ; stop++ {
			f := account(t)
			f.AddUser("app")
			m := newMount(t, f)
			m.root(nil)
			role := body{"username": "app", "rotation_period": "1h"}
			if op == engines.Delete {
				m.must(engines.Update, "static-roles/app", role)
			}
			n := -1
			if op == engines.Update {
				n -= 2 // those of the request's own call
			}
			m.mu.Lock()
			m.crash = func() bool { n++; return n == stop }
			m.mu.Unlock()
			_, err := m.do(op, "static-roles/app", role)
			m.mu.Lock()
			over := m.crash != nil
			m.crash = nil
			m.mu.Unlock()
			m.start()
			m.finish()
			var want []string
			if op == engines.Update {
				want = []string{fmt.Sprint(m.must(engines.Read, "static-creds/app", nil)["access_key"])}
			}
			if keys := f.Keys("app"); len(keys) > 2 || op == engines.Delete && len(keys) > 0 || op == engines.Update && !slices.Contains(keys, want[0]) {
				t.Errorf("%s stopped at %d: the keys are %q, want %q", op, stop, keys, want)
			}
			if over {
				if err != nil {
					t.Errorf("%s came to its end after %d points: %v", op, stop, err)
				}
				break
			}
		}
	}
}

// TestRewrittenMeanwhile: who writes config/root in the middle of a rotation does
// not lose the new key.
func TestRewrittenMeanwhile(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	m := newMount(t, f)
	row := m.root(nil)
	f.On(func(_ context.Context, s awsfake.Step) *awsfake.Error {
		if s.Action == "GetCallerIdentity" { // the new key has been committed
			m.end()
		}
		return nil
	})
	if _, err := m.do(engines.Update, "config/rotate-root", nil); err == nil {
		t.Error("it was not stopped")
	}
	f.On(nil)
	// Not by do, which may have the rotation end before this is committed.
	if _, err := m.h.Do(engines.Update, "config/root", with(row, body{"region": "eu-west-1"}), nil); err != nil {
		t.Fatal(err)
	}
	m.finish()
	if id := m.sound(); id == row["access_key"] {
		t.Error("the key was not changed")
	}
}

// TestRemovedNext: a new key that somebody removes before it is in its place is
// made once more.
func TestRemovedNext(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	m := newMount(t, f)
	m.root(nil)
	m.must(engines.Update, "static-roles/app", body{"username": "app", "rotation_period": "1h"})
	for _, user := range []string{awsfake.RootUser, "app"} {
		f.On(func(_ context.Context, s awsfake.Step) *awsfake.Error {
			if s.Action == "GetCallerIdentity" { // it has been committed
				m.end()
			}
			return nil
		})
		before := f.Keys(user)
		var err error
		if user == awsfake.RootUser {
			_, err = m.do(engines.Update, "config/rotate-root", nil)
		} else {
			m.now = m.now.Add(2 * time.Hour)
			_, err = m.due()
		}
		if err == nil {
			t.Errorf("the key of %s was not stopped", user)
		}
		f.On(nil)
		keys := f.Keys(user)
		if len(keys) != 2 || slices.Equal(keys, before) {
			t.Fatalf("the keys are %q, and were %q", keys, before)
		}
		f.Remove(keys[1])
		m.finish()
		if after := f.Keys(user); slices.Contains(after, keys[1]) || len(after) == 0 {
			t.Errorf("in the end the keys are %q", after)
		}
	}
	m.sound()
	if id := m.must(engines.Read, "static-creds/app", nil)["access_key"]; !slices.Contains(f.Keys("app"), fmt.Sprint(id)) {
		t.Errorf("%v is not one of %q", id, f.Keys("app"))
	}
}
