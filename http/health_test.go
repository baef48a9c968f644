package httpapi_test

import (
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	active, sealed, empty := kit.New(t), kit.New(t, kit.Sealed()), kit.New(t, kit.Uninitialized())
	for _, c := range []struct {
		s      *kit.Server
		query  string
		status int
	}{
		{active, "", 200}, {active, "activecode=299", 299}, {active, "standbyok=true", 200}, {active, "sealedcode=299&uninitcode=298&standbycode=297", 200},
		{sealed, "", 503}, {sealed, "sealedcode=200", 200}, {sealed, "activecode=299&standbyok=true&uninitcode=200", 503},
		{empty, "", 501}, {empty, "uninitcode=200", 200}, {empty, "sealedcode=200", 501},
		{active, "activecode=abc", 400}, {active, "activecode=199", 400}, {active, "activecode=600", 400}, {active, "activecode=-1", 400},
		{active, "activecode=99999999999999999999", 400}, {active, "activecode=", 200},
	} {
		r := c.s.Must(c.status, kit.Request{Path: "sys/health?" + c.query, Token: kit.NoToken})
		head := c.s.Must(c.status, kit.Request{Method: "HEAD", Path: "sys/health?" + c.query, Token: kit.NoToken})
		if len(head.Raw) > 0 {
			t.Errorf("HEAD %s has a body", c.query)
		}
		if c.status == 400 {
			continue
		}
		for name, want := range map[string]any{
			"initialized": c.s != empty, "sealed": c.s != active, "performance_standby": false,
			"replication_performance_mode": "disabled", "replication_dr_mode": "disabled", "version": "1.0.0-test",
		} {
			if got := r.At(name); got != want {
				t.Errorf("%s: %s is %v, want %v", c.query, name, got, want)
			}
		}
		if (r.Text("cluster_id") != "") != (c.s == active) {
			t.Errorf("%s: cluster id %q", c.query, r.Text("cluster_id"))
		}
	}
}

// Statuses of a server that has no body for them would break the connection.
func TestHealthCodesWithoutBody(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	for _, code := range []string{"204", "304"} {
		s.Do(kit.Request{Path: "sys/health?activecode=" + code, Token: kit.NoToken})
		s.Must(200, kit.Request{Path: "sys/health", Token: kit.NoToken})
	}
}

func TestStatusPaths(t *testing.T) {
	t.Parallel()
	s := kit.New(t, kit.Shares(3, 2))
	r := s.Must(200, kit.Request{Path: "sys/seal-status", Token: kit.NoToken})
	if r.At("sealed") != false || r.Text("type") != "shamir" || r.Text("cluster_id") == "" {
		t.Errorf("seal status: %s", r.Raw)
	}
	r = s.Must(200, kit.Request{Path: "sys/leader", Token: kit.NoToken})
	if r.At("is_self") != true || r.Text("leader_address") == "" {
		t.Errorf("leader: %s", r.Raw)
	}
	s.Core.Seal()
	s.Must(503, kit.Request{Path: "sys/leader", Token: kit.NoToken})
	s.Unseal()
	s.Must(200, kit.Request{Path: "sys/leader", Token: kit.NoToken})
}
