package lockout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/auth/lockout"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

var start = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)

// counter counts in a store as a way to log in does.
type counter struct {
	t     *testing.T
	store *enginetest.Store
	rules lockout.Rules
	now   time.Time
}

func newCounter(t *testing.T, config map[string]string) *counter {
	return &counter{t: t, store: enginetest.NewStore(), rules: lockout.RulesOf(config), now: start}
}

func (c *counter) do(fn func(tx engines.Tx) error) {
	c.t.Helper()
	tx := c.store.Begin()
	if err := fn(tx); err != nil {
		c.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *counter) fail(n lockout.Name, times int) {
	c.t.Helper()
	for range times {
		c.do(func(tx engines.Tx) error { return lockout.Fail(tx, c.rules, n, c.now) })
	}
}

func (c *counter) expect(n lockout.Name, locked bool) {
	c.t.Helper()
	err := lockout.Check(c.store.Begin(), c.rules, n, c.now)
	if (engines.KindOf(err) == engines.KindDenied && err != nil) != locked {
		c.t.Errorf("%s: %v, want locked %v", n.Text, err, locked)
	}
}

func (c *counter) list() string {
	c.t.Helper()
	locked, err := lockout.List(c.store.Begin(), c.rules, c.now)
	if err != nil {
		c.t.Fatal(err)
	}
	return fmt.Sprint(locked)
}

// TestSameForStrangers: names that exist and names that do not are locked and
// released alike, whatever goes on with other names.
func TestSameForStrangers(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		c := newCounter(t, nil)
		n := lockout.Name{Text: "a", Known: known}
		c.fail(n, 4)
		for i := range 100 {
			c.fail(lockout.Name{Text: fmt.Sprint("other", i)}, 5)
		}
		c.expect(n, false)
		c.now = c.now.Add(14 * time.Minute)
		c.fail(n, 1)
		c.expect(n, true)
		c.expect(lockout.Name{Text: "b", Known: known}, false)
		c.now = c.now.Add(15*time.Minute - 1)
		c.expect(n, true)
		c.now = c.now.Add(1)
		c.expect(n, false)
		c.fail(n, 4)
		c.now = c.now.Add(15 * time.Minute)
		c.fail(n, 4)
		c.expect(n, false)
		c.fail(n, 1)
		c.expect(n, true)
	}
}

func TestListAndUnlock(t *testing.T) {
	t.Parallel()
	c := newCounter(t, map[string]string{"lockout_threshold": "2"})
	for _, name := range []string{"zoe", "ada"} {
		c.fail(lockout.Name{Text: name, Known: true}, 2)
	}
	c.fail(lockout.Name{Text: "bob", Known: true}, 1)
	c.fail(lockout.Name{Text: "hunter2"}, 5)
	if got := c.list(); strings.Count(got, "{") != 2 || !strings.HasPrefix(got, "[{ada 2025-01-02 03:19:05") || !strings.Contains(got, "{zoe") {
		t.Errorf("locked: %s", got)
	}
	for _, want := range []bool{true, false} {
		c.do(func(tx engines.Tx) error {
			if was, err := lockout.Unlock(tx, "ada"); err != nil || was != want {
				t.Errorf("unlocked: %v, %v", was, err)
			}
			return nil
		})
	}
	c.expect(lockout.Name{Text: "ada", Known: true}, false)
	c.do(func(tx engines.Tx) error { return lockout.Succeed(tx, "zoe") })
	if got := c.list(); got != "[]" {
		t.Errorf("locked: %s", got)
	}
	for _, path := range c.store.Rows() {
		entry, err := c.store.Begin().Get(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(path+string(entry.Value), "hunter2") {
			t.Errorf("a stranger's name is kept in %s: %s", path, entry.Value)
		}
	}
}

// TestStrangersLeaveNothing: their rows go when their time is over.
func TestStrangersLeaveNothing(t *testing.T) {
	t.Parallel()
	c := newCounter(t, nil)
	for i := range 1000 {
		c.fail(lockout.Name{Text: fmt.Sprint("early", i)}, 1)
	}
	c.now = c.now.Add(time.Hour)
	for i := range 256 {
		c.fail(lockout.Name{Text: fmt.Sprint("late", i)}, 1)
	}
	if n := len(c.store.Rows()); n != 256 {
		t.Errorf("%d rows are left, want 256", n)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	standard := lockout.Rules{Threshold: 5, Duration: 15 * time.Minute, Reset: 15 * time.Minute}
	for _, c := range []struct {
		config map[string]string
		want   lockout.Rules
		ok     bool
	}{
		{nil, standard, true},
		{map[string]string{"lockout_threshold": "", "lockout_duration": "0", "lockout_disable": ""}, standard, true},
		{map[string]string{"lockout_threshold": "3", "lockout_duration": "1h", "lockout_counter_reset_duration": "60", "lockout_disable": "true"},
			lockout.Rules{Disabled: true, Threshold: 3, Duration: time.Hour, Reset: time.Minute}, true},
		{map[string]string{"lockout_threshold": "-1"}, standard, false},
		{map[string]string{"lockout_threshold": "many"}, standard, false},
		{map[string]string{"lockout_duration": "-1s"}, standard, false},
		{map[string]string{"lockout_counter_reset": "99999h"}, standard, false},
		{map[string]string{"lockout_disable": "maybe"}, standard, false},
		{map[string]string{"threshold": "3"}, standard, false},
	} {
		if got, err := lockout.Parse(c.config); got != c.want || (err == nil) != c.ok {
			t.Errorf("%v: %+v, %v", c.config, got, err)
		}
	}
}
