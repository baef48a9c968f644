package issued_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/leases/issued"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := start(t, p, kit.At(clock))
	mount := s.Get("sys/mounts/fake").Text("data", "accessor")
	gone := s.Get("fake/creds/a").Text("lease_id")
	s.Get("fake/creds/b")
	stuck := s.Get("fake/creds/c").Text("lease_id")
	s.Put("sys/leases/revoke", body{"lease_id": gone})
	p.jam("c", true)
	s.Must(http.StatusBadGateway, kit.Request{Method: http.MethodPut, Path: "sys/leases/revoke", Body: body{"lease_id": stuck}})
	p.interrupt(func(context.Context, string, bool) error { return errors.New("no") })
	s.Must(http.StatusBadGateway, kit.Request{Path: "fake/creds/a"})
	eventually(t, "it counts as stuck", func() bool {
		clock.Advance(20 * time.Second)
		return fmt.Sprint(s.Get("sys/leases/count?type=irrevocable").At("data", "counts", "fake/")) == "1"
	})
	stats, ok := s.Core.LeaseStats()
	done, standing := stats.Done[mount], stats.Standing[mount]
	if !ok || done.Made != 3 || done.Failed != 1 || done.Making != 0 || done.Undone == 0 || done.Refused < 6 || done.Within[len(issued.Buckets)-1] != 3 {
		t.Errorf("done %+v", done)
	}
	if standing != (issued.Standing{Live: 1, Revoking: 1, Stuck: 1}) {
		t.Errorf("standing %+v", standing)
	}
	p.interrupt(nil)
	s.Get("fake/creds/b?ttl=1h")
	if again, _ := s.Core.LeaseStats(); again.Standing[mount] != standing {
		t.Errorf("counted again at once: %+v", again.Standing[mount])
	}
}
