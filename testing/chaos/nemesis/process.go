package nemesis

import (
	"context"
	"time"
)

// processes are faults of processes.
var processes = []Fault{
	{Name: "kill-leader", Group: "kill", do: func(ctx context.Context, s *Scene) error { return s.kill(ctx, s.leader) }},
	{Name: "kill-follower", Group: "kill", do: func(ctx context.Context, s *Scene) error { return s.kill(ctx, s.follower) }},
	{Name: "kill-all", Group: "kill", do: killAll},
	{Name: "kill-loop", Group: "kill", do: killLoop},
	{Name: "pause-leader", Group: "pause", do: func(ctx context.Context, s *Scene) error { return s.pause(ctx, s.leader) }},
	{Name: "pause-follower", Group: "pause", do: func(ctx context.Context, s *Scene) error { return s.pause(ctx, s.follower) }},
	{Name: "pause-flapping", Group: "pause", do: pauseFlapping},
}

// kill kills a node and starts it again after a while.
func (s *Scene) kill(ctx context.Context, who func() (int, error)) error {
	i, err := who()
	if err != nil {
		return err
	}
	s.Kill(i)
	wait(ctx, s.hold)
	return s.back(i)
}

// back starts a node that was killed.
func (s *Scene) back(i int) error {
	if err := s.Restart(i); err != nil {
		return err
	}
	return s.Unseal(i)
}

// killAll kills all nodes as nearly at once as can be.
func killAll(ctx context.Context, s *Scene) error {
	for i := range s.Nodes {
		if _, err := s.claim(i); err != nil {
			return errNobody // another fault has one of them
		}
	}
	for _, i := range s.claimed {
		s.MayEnd(i)
		if err := s.Nodes[i].Signal(sigKill); err != nil {
			return err
		}
	}
	for _, i := range s.claimed {
		s.Kill(i)
	}
	wait(ctx, s.hold/4)
	for _, i := range s.claimed {
		if err := s.Restart(i); err != nil {
			return err
		}
	}
	return s.UnsealAll()
}

// killLoop kills whoever leads, again and again.
func killLoop(ctx context.Context, s *Scene) error {
	for range 2 + s.rng.IntN(3) {
		i, err := s.leader()
		if err != nil {
			return err
		}
		s.Kill(i)
		wait(ctx, s.between(100*time.Millisecond, 2*time.Second))
		if err := s.back(i); err != nil {
			return err
		}
		s.Release(i)
	}
	return nil
}

// pause stops a node for a tenth of an election up to twenty.
func (s *Scene) pause(ctx context.Context, who func() (int, error)) error {
	i, err := who()
	if err != nil {
		return err
	}
	d := s.between(election/10, 3*election)
	if s.rng.IntN(4) == 0 {
		d = s.between(3*election, 20*election)
	}
	if err := s.Pause(i); err != nil {
		return err
	}
	wait(ctx, d)
	return s.Resume(i)
}

// pauseFlapping stops nodes again and again, each time for about as long as the
// others take to miss them.
func pauseFlapping(ctx context.Context, s *Scene) error {
	i, err := s.any()
	if err != nil {
		return err
	}
	for end := time.Now().Add(s.hold); time.Now().Before(end) && ctx.Err() == nil; {
		if err := s.Pause(i); err != nil {
			return err
		}
		wait(ctx, s.between(election/10, 2*election))
		if err := s.Resume(i); err != nil {
			return err
		}
		wait(ctx, s.between(election/50, election/2))
	}
	return nil
}
