package quotas_test

import (
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/quotas"
)

func TestServing(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	self := quotas.Node{Self: true, Voter: true}
	there, gone := quotas.Node{Voter: true, Seen: now.Add(-time.Second)}, quotas.Node{Voter: true, Seen: now.Add(-time.Minute)}
	reader := quotas.Node{Seen: now}
	for name, c := range map[string]struct {
		nodes []quotas.Node
		want  int
	}{
		"alone":                    {[]quotas.Node{self}, 1},
		"all there":                {[]quotas.Node{self, there, there}, 3},
		"one gone":                 {[]quotas.Node{self, there, gone}, 2},
		"back again":               {[]quotas.Node{self, there, {Voter: true, Seen: now}}, 3},
		"cut off":                  {[]quotas.Node{self, gone, gone}, 3},
		"half of the voters":       {[]quotas.Node{self, there, gone, gone}, 4},
		"nobody looks":             {[]quotas.Node{self, {Voter: true}, {Voter: true}}, 3},
		"one that only reads":      {[]quotas.Node{self, there, there, reader}, 4},
		"one that only read":       {[]quotas.Node{self, there, there, {Seen: gone.Seen}}, 3},
		"readers make no majority": {[]quotas.Node{self, gone, gone, reader, reader}, 5},
	} {
		if got := quotas.Serving(c.nodes, now); got != c.want {
			t.Errorf("%s: shared among %d, want %d", name, got, c.want)
		}
	}
}
