package auth_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

func TestAllows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list, addr string
		want       bool
	}{
		{"", "192.0.2.1", true},
		{"", "", true},
		{"192.0.2.0/24", "192.0.2.1", true},
		{"192.0.2.0/24", "::ffff:192.0.2.1", true},
		{"192.0.2.0/24", "192.0.3.1", false},
		{"192.0.2.0/24", "", false},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"nonsense", "192.0.2.8", false},
		{"2001:db8::/32 , 192.0.2.8", "192.0.2.8", true},
		{"2001:db8::/32", "2001:db8::1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
	} {
		var addr netip.Addr
		if c.addr != "" {
			addr = netip.MustParseAddr(c.addr)
		}
		if got := auth.Allows(split(c.list), addr); got != c.want {
			t.Errorf("%q lets %q in: %v", c.list, c.addr, got)
		}
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		inner, outer string
		want         bool
	}{
		{"", "", true},
		{"", "10.0.0.0/8", true},
		{"10.1.0.0/16", "", true},
		{"10.1.0.0/16,10.2.0.1", "10.0.0.0/8", true},
		{"10.0.0.0/7", "10.0.0.0/8", false},
		{"11.0.0.0/8", "10.0.0.0/8", false},
		{"10.1.0.0/16,11.0.0.1", "10.0.0.0/8", false},
		{"x", "10.0.0.0/8", false},
		{"10.0.0.0/8", "x", false},
	} {
		if got := auth.Within(split(c.inner), split(c.outer)); got != c.want {
			t.Errorf("%q within %q: %v", c.inner, c.outer, got)
		}
	}
	if err := auth.CheckAddresses("cidr_list", []string{"10.0.0.0/8", "x"}); err == nil || !strings.HasPrefix(err.Error(), "cidr_list: ") {
		t.Errorf("answered %v", err)
	}
	if err := auth.CheckAddresses("cidr_list", make([]string, 2000)); engines.KindOf(err) != engines.KindInvalid {
		t.Errorf("answered %v", err)
	}
}

func TestOlderNames(t *testing.T) {
	t.Parallel()
	var p engines.TokenParams
	v := engines.NewValues(map[string]any{"policies": []string{" A", "a"}, "ttl": time.Minute, "token_ttl": time.Hour, "period": time.Second}, nil)
	if err := auth.ApplyToken(v, &p); err != nil || p.TTL != time.Hour || p.Period != time.Second || len(p.Policies) != 1 || p.Policies[0] != "a" {
		t.Errorf("%+v, %v", p, err)
	}
	if len(v.Given()) != 4 {
		t.Error("what was given has been changed")
	}
}
