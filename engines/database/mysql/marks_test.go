package mysql_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/database"
	"github.com/coffer-secrets/coffer/engines/database/mysql"
	"github.com/coffer-secrets/coffer/testing/mariadbserver"
)

// TestMarks finds the users of marks, and no others, until they are revoked or
// could not be made.
func TestMarks(t *testing.T) {
	t.Parallel()
	settings := &database.Settings{
		URL: server.Template("mysql"), Username: mariadbserver.Admin, Passwords: []string{mariadbserver.Password}, MaxOpen: 4, MaxIdle: 4,
		Options: map[string]string{"mark_users": "true"},
	}
	db, err := mysql.Plugins()[0].Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	found := func() (names []string) {
		t.Helper()
		list, err := db.(database.Marker).Marked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list {
			if u.Mark != engines.MarkPrefix+"of "+u.Name {
				t.Errorf("%s has the mark %q", u.Name, u.Mark)
			}
			names = append(names, u.Name)
		}
		slices.Sort(names)
		return names
	}
	if got := found(); got != nil {
		t.Errorf("found %q before there was a table", got)
	}
	for _, name := range []string{"v-marked-1", "v-marked-2'`", "v-marked-3", "v-marked-4"} {
		u := user(name)
		if u.Mark = engines.MarkPrefix + "of " + name; name == "v-marked-4" {
			u.Statements = append(u.Statements, "GRANT nothing TO nobody")
		}
		if err := db.Create(t.Context(), u); err != nil && name != "v-marked-4" {
			t.Fatal(err)
		}
	}
	exec(t, admin(t), "REPLACE INTO coffer.users VALUES ('v-marked-5', 'coffer:5'), ('"+mariadbserver.Admin+"', 'coffer:6')")
	if got := found(); !slices.Equal(got, []string{"v-marked-1", "v-marked-2'`", "v-marked-3"}) {
		t.Errorf("found %q", got)
	}
	own := database.User{Name: "v-marked-3", Statements: []string{"DROP USER '{{name}}'@'%'"}}
	if err := errors.Join(db.Revoke(t.Context(), []database.User{{Name: "v-marked-1"}, {Name: "v-marked-2'`"}, own})...); err != nil {
		t.Fatal(err)
	}
	if got, left := found(), count(t, "SELECT COUNT(*) FROM coffer.users"); got != nil || left != 2 {
		t.Errorf("found %q and %d marks", got, left)
	}
}
