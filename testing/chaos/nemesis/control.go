package nemesis

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/crash"
	"github.com/coffer-secrets/coffer/testing/chaos/rig"
)

// controls are faults that take a build of their own.
var controls = []Fault{
	{Name: "clock-step", Group: "clock", do: clockStep},
	{Name: "clock-drift", Group: "clock", do: clockDrift},
	{Name: "crash-point", Group: "crash", do: crashPoint},
}

// theClock stands among the claims for the one clock that is wrong: more of them
// may be right about how long all nodes were down.
const theClock = -2

// stepMost is how far a clock is set.
const stepMost = time.Hour

// wrong has the clock of a node be wrong for a while, in which the node may end
// and start again.
func (s *Scene) wrong(ctx context.Context, how rig.Skew) error {
	i, err := s.any()
	if err != nil {
		return err
	}
	if !s.Claim(theClock) {
		return errNobody
	}
	s.claimed = append(s.claimed, theClock)
	if err := s.SetClock(ctx, i, how); err != nil {
		return err
	}
	wait(ctx, s.hold/2)
	if s.rng.IntN(2) == 0 {
		s.Kill(i)
		if err := s.back(i); err != nil {
			return err
		}
	}
	wait(ctx, s.hold/2)
	return s.SetClock(context.WithoutCancel(ctx), i, rig.Skew{})
}

// clockStep sets a clock up to an hour off.
func clockStep(ctx context.Context, s *Scene) error {
	off := s.between(-stepMost, stepMost)
	if s.rng.IntN(3) == 0 {
		off = s.between(-2*time.Second, 2*time.Second)
	}
	return s.wrong(ctx, rig.Skew{Offset: off})
}

// clockDrift has a clock go up to twice as fast, or not at all.
func clockDrift(ctx context.Context, s *Scene) error {
	return s.wrong(ctx, rig.Skew{Drift: 2*s.rng.Float64() - 1})
}

// crashPoint has nodes end themselves at steps, again and again; most are what
// only a leader does.
func crashPoint(ctx context.Context, s *Scene) error {
	for end := time.Now().Add(s.hold); time.Now().Before(end) && ctx.Err() == nil; {
		steps := crash.Steps()
		step, after, nth := steps[s.rng.IntN(len(steps))], s.rng.IntN(2) == 0, 1+s.rng.IntN(10)
		pick := s.leader
		if s.rng.IntN(4) == 0 {
			pick = s.any
		}
		i, err := pick()
		if err != nil {
			return err
		}
		if err := s.Arm(ctx, i, step, after, nth); err != nil {
			return err
		}
		if !s.ends(ctx, i) {
			_ = s.Disarm(ctx, i) // or it ends after all
		}
		if !s.Up(i) {
			s.Kill(i)
			if err := s.back(i); err != nil {
				return err
			}
		}
		s.Release(i)
	}
	return nil
}

// ends waits for a node to end itself, not for ever.
func (s *Scene) ends(ctx context.Context, i int) bool {
	for end := time.Now().Add(s.hold); time.Now().Before(end) && ctx.Err() == nil; {
		if !s.Up(i) {
			return true
		}
		wait(ctx, 20*time.Millisecond)
	}
	return false
}
