package harness_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m)) }

// patience is how long a node may hold a request in tests of partitions.
const patience = 6 * time.Second

// separate is a cluster whose nodes have addresses of their own.
type separate struct {
	*harness.Cluster
	t   *testing.T
	net *netns.Network
}

// newSeparate is nil where no hosts can be made.
func newSeparate(t *testing.T) *separate {
	t.Helper()
	network, err := netns.Up(t.Context(), 3)
	if err != nil {
		t.Logf("NOT TESTED HERE: no hosts can be made on this machine: %v", err)
		return nil
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &separate{t: t, net: network}
	s.Cluster = harness.StartClusterOn(t, network.Hosts, harness.Options{
		Extra: fmt.Sprintf("default_max_request_duration = %q\n", patience),
	})
	s.Nodes[0].Root(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv"})
	s.write(s.Nodes[0], 1)
	return s
}

// sides are the leader and the hosts of both sides of a cut around it.
func (s *separate) sides() (leader *harness.Server, alone, others []*netns.Host) {
	s.t.Helper()
	leader = s.Leader()
	for i, n := range s.Nodes {
		if n == leader {
			alone = append(alone, s.net.Hosts[i])
		} else {
			others = append(others, s.net.Hosts[i])
		}
	}
	return leader, alone, others
}

// write writes a number by way of a node; it is held until that can be done.
func (s *separate) write(n *harness.Server, number int64) {
	s.t.Helper()
	s.Await("a write to be acknowledged", func() bool {
		status, _ := n.Do(http.MethodPut, "kv/a", n.RootToken, map[string]int64{"n": number})
		return status == http.StatusNoContent
	})
	if got := value(n, "kv/a"); got != number {
		s.t.Errorf("read %d after %d was acknowledged", got, number)
	}
}

// refuses checks that a node says in time that it can do nothing that needs a quorum.
func (s *separate) refuses(n *harness.Server, method string) {
	s.t.Helper()
	began := time.Now()
	status, answer := n.Do(method, "kv/a", n.RootToken, map[string]int64{"n": -1})
	if status != http.StatusServiceUnavailable || !strings.Contains(string(answer), "no leader is ") {
		s.t.Errorf("%s without a quorum: status %d: %s", method, status, answer)
	}
	if took := time.Since(began); took > patience+2*time.Second {
		s.t.Errorf("%s without a quorum was answered after %s", method, took)
	}
}

// heals ends all faults; then every node has what was written meanwhile, and takes
// writes again.
func (s *separate) heals(number int64) {
	s.t.Helper()
	s.net.Heal()
	for i, n := range s.Nodes {
		s.Await("a node to be back", func() bool { return value(n, "kv/a") == number+int64(i) })
		s.write(n, number+int64(i)+1)
	}
}

// TestMinorityOfPartition cuts the leader off: it answers nothing any more that
// would need the others, while these go on.
func TestMinorityOfPartition(t *testing.T) {
	t.Parallel()
	s := newSeparate(t)
	if s == nil {
		return
	}
	old, alone, others := s.sides()
	s.net.Partition(alone, others)
	for _, n := range s.Followers(old) {
		s.write(n, 2)
	}
	s.refuses(old, http.MethodGet)
	s.refuses(old, http.MethodPut)
	status, answer := old.Send(http.MethodGet, "kv/a", http.Header{
		"X-Vault-Token": {old.RootToken}, "X-Coffer-Consistency": {"local"},
	}, nil)
	if status != http.StatusOK || !strings.Contains(string(answer), `"n":1`) {
		t.Errorf("a local read without a quorum: status %d: %s", status, answer)
	}
	s.heals(2)
}

// TestOneWayPartitions has the leader not be heard, and not hear: the others go on
// under another leader or, if they can, under this one.
func TestOneWayPartitions(t *testing.T) {
	t.Parallel()
	s := newSeparate(t)
	if s == nil {
		return
	}
	number := int64(1)
	for _, heard := range []bool{false, true} {
		old, alone, others := s.sides()
		for _, other := range others {
			if heard {
				s.net.CutOneWay(other, alone[0])
			} else {
				s.net.CutOneWay(alone[0], other)
			}
		}
		for _, n := range s.Followers(old) {
			number++
			s.write(n, number)
		}
		s.heals(number)
		number += int64(len(s.Nodes))
	}
}

// TestLossyNetwork has writes be acknowledged and reads be right over links that
// lose, delay, repeat and reorder.
func TestLossyNetwork(t *testing.T) {
	t.Parallel()
	s := newSeparate(t)
	if s == nil {
		return
	}
	bad := netns.Link{Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05, Duplicate: 0.05}
	for _, a := range s.net.Hosts {
		for _, b := range s.net.Hosts {
			if a != b {
				s.net.Shape(a, b, bad)
			}
		}
	}
	for i := range int64(30) {
		s.write(s.Nodes[int(i)%len(s.Nodes)], i+2)
	}
	s.heals(31)
}
