package aws_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/awsfake"
)

// loseAnswer has the node end when the next key has been made, and before it has
// the answer.
func (m *mount) loseAnswer() {
	lost := false
	m.f.On(func(_ context.Context, s awsfake.Step) *awsfake.Error {
		if s.Action != "CreateAccessKey" || !s.Done || lost {
			return nil
		}
		lost = true
		m.end()
		return &awsfake.Error{Status: http.StatusForbidden, Code: "Lost", Message: "nobody is there to read it"}
	})
}

// TestLostKeys: a key that AWS has made for a node that did not live to know it is
// removed by the next one, whether it is there at once or comes late. Keys of
// others stay.
func TestLostKeys(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"app", awsfake.RootUser} {
		f := account(t)
		f.AddUser("app")
		m := newMount(t, f)
		m.root(nil)
		path, body, stored := "static-roles/app", any(body{"username": "app", "rotation_period": "24h"}), func() string {
			return fmt.Sprint(m.must(engines.Read, "static-creds/app", nil)["access_key"])
		}
		if user == awsfake.RootUser {
			path, body, stored = "config/rotate-root", nil, func() string {
				return fmt.Sprint(m.must(engines.Read, "config/root", nil)["access_key"])
			}
		}
		m.loseAnswer()
		if _, err := m.do(engines.Update, path, body); err == nil {
			t.Fatalf("%s: the node did not end", user)
		}
		lost := f.Keys(user)
		lost = lost[len(lost)-1:]
		m.start()
		for range 3 {
			if _, err := m.due(); err != nil {
				t.Errorf("%s: the next node says %v", user, err)
			}
		}
		if keys := f.Keys(user); !slices.Equal(keys, []string{stored()}) || keys[0] == lost[0] {
			t.Errorf("%s: the keys are %q, stored is %q, and lost was %q", user, keys, stored(), lost)
		}
		late, _ := f.Key(user)
		m.now = m.now.Add(3 * time.Minute)
		m.finish()
		if keys := f.Keys(user); !slices.Equal(keys, []string{stored()}) {
			t.Errorf("%s: the keys are %q after %q came late", user, keys, late)
		}
		other, _ := f.Key(user)
		m.now = m.now.Add(time.Hour)
		m.finish()
		if !slices.Contains(f.Keys(user), other) {
			t.Errorf("%s: a key of somebody else was removed", user)
		}
	}
}

// TestLostBesideOthers: what somebody else makes while nobody leads is not ours.
func TestLostBesideOthers(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	m := newMount(t, f)
	m.root(nil)
	m.loseAnswer()
	if _, err := m.do(engines.Update, "static-roles/app", body{"username": "app", "rotation_period": "24h"}); err == nil {
		t.Fatal("the node did not end")
	}
	other, _ := f.Key("app")
	f.Date(other, time.Now().Add(time.Hour))
	m.start()
	m.must(engines.Update, "static-roles/app", body{"rotation_period": "12h"})
	if keys := f.Keys("app"); len(keys) != 2 || !slices.Contains(keys, other) {
		t.Errorf("the keys are %q, and somebody else's is %q", keys, other)
	}
}

// TestLostAndDeleted: the keys go with their static role, also one that was lost.
func TestLostAndDeleted(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	m := newMount(t, f)
	m.root(nil)
	m.loseAnswer()
	if _, err := m.do(engines.Update, "static-roles/app", body{"username": "app", "rotation_period": "24h"}); err == nil {
		t.Fatal("the node did not end")
	}
	m.start()
	m.must(engines.Delete, "static-roles/app", nil)
	if keys := f.Keys("app"); len(keys) > 0 {
		t.Errorf("the keys are %q", keys)
	}
	late, _ := f.Key("app")
	m.now = m.now.Add(3 * time.Minute)
	m.finish()
	if keys := f.Keys("app"); len(keys) > 0 || len(m.store.Rows()) != 1 || len(m.store.Scheduled()) > 0 {
		t.Errorf("the keys are %q after %q came late, the rows %q", keys, late, m.store.Rows())
	}
}

// TestSchedules: keys are changed at the times of a schedule, and not once a window
// is over.
func TestSchedules(t *testing.T) {
	t.Parallel()
	f := account(t)
	f.AddUser("app")
	m := newMount(t, f)
	m.now = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	m.h.Now = m.now
	schedule := body{"rotation_schedule": "0 3 * * *", "rotation_window": "2h"}
	m.root(schedule)
	role := m.must(engines.Update, "static-roles/app", with(body{"username": "app"}, schedule))
	if fmt.Sprint(role["rotation_schedule"], role["rotation_window"], role["rotation_period"]) != "0 3 * * *7200<nil>" {
		t.Errorf("the role shows %v", role)
	}
	root := m.must(engines.Read, "config/root", nil)
	if fmt.Sprint(root["rotation_schedule"], root["rotation_window"], root["rotation_period"]) != "0 3 * * *72000" {
		t.Errorf("config/root shows %v", root)
	}
	if at := m.must(engines.Read, "static-creds/app", nil)["expiration"]; at != "2026-05-02T03:00:00Z" {
		t.Errorf("the key ends at %v", at)
	}
	keys := func() string {
		return fmt.Sprint(m.must(engines.Read, "static-creds/app", nil)["access_key"], " ", m.must(engines.Read, "config/root", nil)["access_key"])
	}
	before := keys()
	for _, c := range []struct {
		at      string
		changed bool
	}{
		{"2026-05-02T02:59:00Z", false}, {"2026-05-02T03:01:00Z", true}, {"2026-05-03T05:01:00Z", false}, {"2026-05-04T04:59:00Z", true},
	} {
		m.now, _ = time.Parse(time.RFC3339, c.at)
		m.h.Now = m.now
		m.finish()
		after := keys()
		var was, is [2]string
		_, _ = fmt.Sscan(before, &was[0], &was[1])
		_, _ = fmt.Sscan(after, &is[0], &is[1])
		if c.changed == (was[0] == is[0]) || c.changed == (was[1] == is[1]) {
			t.Errorf("at %s the keys are %s, and were %s", c.at, after, before)
		}
		before = after
	}
	m.must(engines.Update, "static-roles/app", body{"rotation_period": "1h"})
	if at := m.store.Scheduled()["static/app"]; !at.Equal(m.now.Add(time.Hour)) {
		t.Errorf("with a period it is due at %s", at)
	}
}
