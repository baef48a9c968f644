package database_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
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
