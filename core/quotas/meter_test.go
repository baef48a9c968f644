package quotas_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/quick"
	"time"

	"github.com/coffer-secrets/coffer/core/quotas"
)

// However many nodes there are, together they allow no more than the rate.
func TestSharesAddUp(t *testing.T) {
	t.Parallel()
	within := func(rate uint32, voters uint8, seconds uint16) bool {
		r, interval := float64(rate%100_000+1)/64, time.Duration(seconds%3600+1)*time.Second
		n := int(voters%9) + 1
		allowed, per := quotas.Share(r, interval, n)
		together := float64(allowed) * float64(n) / per.Seconds()
		return allowed >= 1 && together <= r/interval.Seconds()*(1+1e-9)
	}
	if err := quick.Check(within, &quick.Config{MaxCount: 5000}); err != nil {
		t.Error(err)
	}
}

func addr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func TestMeterIsBounded(t *testing.T) {
	t.Parallel()
	take, clients := quotas.NewMeter(2, time.Minute, 0)
	now := time.Now()
	for n := range uint32(200_000) {
		take(addr(n), now)
	}
	if got := clients(); got > 100_000 {
		t.Errorf("%d clients are remembered", got)
	}
	if take(addr(1<<31), now) {
		t.Error("a client for whom there is no room has an allowance of its own")
	}
	if later := now.Add(2 * time.Minute); !take(addr(1<<31), later) || clients() > 80_000 {
		t.Errorf("the quiet are not forgotten: %d clients", clients())
	}
}

func TestMeterTellsClientsApart(t *testing.T) {
	t.Parallel()
	take, _ := quotas.NewMeter(1, time.Minute, time.Hour)
	now := time.Now()
	for _, c := range []struct {
		addr  string
		after time.Duration
		want  bool
	}{
		{"10.0.0.1", 0, true}, {"10.0.0.2", 0, true}, {"::ffff:10.0.0.1", 0, false}, {"10.0.0.2", 61 * time.Second, true},
		{"2001:db8::1", 0, true}, {"2001:db8::2", 0, false}, {"2001:db8:0:1::1", 0, true},
		{"10.0.0.1", 2 * time.Minute, false}, {"10.0.0.1", 61 * time.Minute, true},
	} {
		if got := take(netip.MustParseAddr(c.addr), now.Add(c.after)); got != c.want {
			t.Errorf("%s after %v: %v", c.addr, c.after, got)
		}
	}
}
