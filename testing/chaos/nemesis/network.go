package nemesis

import (
	"context"
	"syscall"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

const sigKill = syscall.SIGKILL

// partitions cut hosts off from each other.
var partitions = []Fault{
	{Name: "isolate-leader", Group: "partition", do: func(ctx context.Context, s *Scene) error { return s.isolate(ctx, s.Leader()) }},
	{Name: "isolate-follower", Group: "partition", do: func(ctx context.Context, s *Scene) error {
		return s.isolate(ctx, (s.Leader()+1)%len(s.Nodes))
	}},
	{Name: "halves", Group: "partition", do: halves},
	{Name: "one-way", Group: "partition", do: oneWay},
	{Name: "ring", Group: "partition", do: ring},
	{Name: "flapping", Group: "partition", do: flapping},
	{Name: "cut-clients", Group: "partition", hosts: true, do: cutClients},
}

// links make the network a bad one.
var links = []Fault{
	{Name: "slow-link", Group: "link", do: func(ctx context.Context, s *Scene) error {
		return s.bad(ctx, netns.Link{BytesPerSecond: 8<<10 + s.rng.IntN(56<<10)})
	}},
	{Name: "lossy-link", Group: "link", do: func(ctx context.Context, s *Scene) error {
		return s.bad(ctx, netns.Link{Loss: 0.3 * s.rng.Float64(), Duplicate: 0.2 * s.rng.Float64()})
	}},
	{Name: "late-link", Group: "link", do: func(ctx context.Context, s *Scene) error {
		return s.bad(ctx, netns.Link{Delay: s.between(time.Millisecond, 100*time.Millisecond), Jitter: s.between(time.Millisecond, 200*time.Millisecond)})
	}},
}

// held keeps a fault of the network for its time, and ends it.
func (s *Scene) held(ctx context.Context) error {
	wait(ctx, s.hold)
	s.Net.Heal()
	return nil
}

// isolate cuts one node off from all others. Clients still reach it.
func (s *Scene) isolate(ctx context.Context, i int) error {
	i = max(i, 0)
	for j, other := range s.Hosts {
		if j != i {
			s.Net.Cut(s.Hosts[i], other)
		}
	}
	return s.held(ctx)
}

// halves cuts the hosts into two groups, one of which is a majority.
func halves(ctx context.Context, s *Scene) error {
	var groups [2][]*netns.Host
	for n, i := range s.rng.Perm(len(s.Hosts)) {
		side := 0
		if n >= len(s.Hosts)/2 {
			side = 1
		}
		groups[side] = append(groups[side], s.Hosts[i])
	}
	s.Net.Partition(groups[0], groups[1])
	return s.held(ctx)
}

// oneWay loses what one host sends to some others.
func oneWay(ctx context.Context, s *Scene) error {
	order := s.rng.Perm(len(s.Hosts))
	if leader := s.Leader(); leader >= 0 && s.rng.IntN(2) == 0 {
		order[0] = leader
	}
	for _, i := range order[1 : 1+1+s.rng.IntN(len(order)-1)] {
		from, to := s.Hosts[order[0]], s.Hosts[i]
		if from == to {
			continue
		}
		if s.rng.IntN(2) == 0 {
			from, to = to, from
		}
		s.Net.CutOneWay(from, to)
	}
	return s.held(ctx)
}

// ring leaves each host only those next to it; of three hosts, one sees both
// others, which do not see each other.
func ring(ctx context.Context, s *Scene) error {
	hosts := s.Hosts
	if len(hosts) == 3 {
		i := s.rng.IntN(3)
		s.Net.Cut(hosts[i], hosts[(i+1)%3])
		return s.held(ctx)
	}
	for i := range hosts {
		for j := range hosts {
			if apart := (j - i + len(hosts)) % len(hosts); apart > 1 && apart < len(hosts)-1 {
				s.Net.CutOneWay(hosts[i], hosts[j])
			}
		}
	}
	return s.held(ctx)
}

// flapping cuts and heals again and again.
func flapping(ctx context.Context, s *Scene) error {
	for end := time.Now().Add(s.hold); time.Now().Before(end) && ctx.Err() == nil; {
		order := s.rng.Perm(len(s.Hosts))
		s.Net.Cut(s.Hosts[order[0]], s.Hosts[order[1]])
		wait(ctx, s.between(50*time.Millisecond, 500*time.Millisecond))
		s.Net.Heal()
		wait(ctx, s.between(50*time.Millisecond, 500*time.Millisecond))
	}
	return nil
}

// cutClients cuts one host off from the clients alone.
func cutClients(ctx context.Context, s *Scene) error {
	s.Net.Cut(s.Outside, s.Hosts[s.rng.IntN(len(s.Hosts))])
	return s.held(ctx)
}

// bad makes some links between hosts bad.
func (s *Scene) bad(ctx context.Context, how netns.Link) error {
	for _, a := range s.Hosts {
		for _, b := range s.Hosts {
			if a != b && s.rng.IntN(3) > 0 {
				s.Net.Shape(a, b, how)
			}
		}
	}
	return s.held(ctx)
}
