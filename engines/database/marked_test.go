package database_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
	"github.com/coffer-secrets/coffer/testing/targets"
)

// TestReconcileUsers finds a user of PostgreSQL that no lease is for, and leaves
// one alone whose comment was copied from it.
func TestReconcileUsers(t *testing.T) {
	clock := kit.NewClock()
	s := started(t, kit.At(clock))
	compare := kit.Request{Method: http.MethodPut, Path: "sys/leases/reconcile", Body: body{"mount": "database", "target": "orders-db", "dry_run": false}}
	s.Must(http.StatusBadRequest, compare) // nobody is marked
	s.Put("database/config/orders-db", body{"mark_users": true})
	kept, lost := s.Get("database/creds/app"), s.Get("database/creds/app")
	orphan := lost.Text("data", "username")
	exec(t, `CREATE ROLE "copied" LOGIN PASSWORD 'x'; DO $$ BEGIN EXECUTE format('COMMENT ON ROLE "copied" IS %L', (SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '`+orphan+`')); END $$`)
	defer exec(t, `DROP ROLE "copied"`)
	exec(t, `ALTER ROLE "`+orphan+`" VALID UNTIL 'infinity'`)
	s.Put("sys/leases/revoke-force/"+lost.Text("lease_id"), nil)
	got := s.Must(http.StatusOK, compare)
	if fmt.Sprintf("%v %v %v", got.At("data", "found"), got.At("data", "others"), got.At("data", "removed")) != "2 1 0" || !slices.Equal(got.Strings("data", "unleased_names"), []string{orphan}) {
		t.Errorf("told %s", got.Raw)
	}
	if !logsIn(t, orphan, lost.Text("data", "password")) {
		t.Error("removed before its grace time was over")
	}
	clock.Advance(30 * time.Minute)
	compare.Body = body{"mount": "database", "target": "orders-db", "dry_run": false, "grace": "20m"}
	if got = s.Must(http.StatusOK, compare); fmt.Sprint(got.At("data", "removed")) != "1" {
		t.Errorf("told %s", got.Raw)
	}
	if logsIn(t, orphan, lost.Text("data", "password")) || !logsIn(t, kept.Text("data", "username"), kept.Text("data", "password")) || !logsIn(t, "copied", "x") {
		t.Error("others than the one that no lease is for were removed, or it was not")
	}
	s.Put("sys/leases/revoke", body{"lease_id": kept.Text("lease_id")})
}

// TestReconcileUsersOfOthers is TestReconcileUsers for Redis and MariaDB.
func TestReconcileUsersOfOthers(t *testing.T) {
	t.Parallel()
	for kind, other := range map[string]string{"Redis": "V_OTHER_(~coffer:1:2:3)", "MariaDB": "v-other-(~coffer:1:2:3)"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			reconciled(t, targets.Start(t, targets.Kinds()[kind]), other)
		})
	}
}

func reconciled(t *testing.T, at *targets.Target, other string) {
	t.Helper()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	s.Mount("database", "database", nil)
	s.Put("database/config/re", at.Connection())
	s.Put("database/roles/app", body{"db_name": "re", "creation_statements": at.Creation})
	compare := kit.Request{Method: http.MethodPut, Path: "sys/leases/reconcile", Body: body{"mount": "database", "target": "re", "dry_run": false, "grace": "20m"}}
	s.Must(http.StatusBadRequest, compare) // nobody is marked
	unmarked := creds(s, "app")
	s.Put("database/config/re", body{"mark_users": true})
	kept, lost := creds(s, "app"), creds(s, "app")
	at.Owner(t, other)
	s.Put("sys/leases/revoke-force/"+unmarked.lease, nil)
	s.Put("sys/leases/revoke-force/"+lost.lease, nil)
	clock.Advance(30 * time.Minute)
	got := s.Must(http.StatusOK, compare)
	if fmt.Sprintf("%v %v %v", got.At("data", "found"), got.At("data", "others"), got.At("data", "removed")) != "2 0 1" || !slices.Equal(got.Strings("data", "unleased_names"), []string{lost.user}) {
		t.Errorf("told %s", got.Raw)
	}
	if at.LogsIn(t, lost.user, lost.password) || !at.LogsIn(t, kept.user, kept.password) || !slices.Contains(at.Made(t), unmarked.user) || !slices.Contains(at.Made(t), other) {
		t.Error("others than the one that no lease is for were removed, or it was not")
	}
}
