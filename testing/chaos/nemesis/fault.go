package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/rig"
)

// election is about how long one takes, by the timeouts of nodes.
const election = time.Second

// Fault is something that happens to a cluster for a while. What it does not
// undo by itself, rig.Heal does.
type Fault struct {
	Name string
	// Group is another name, by which it can be picked with its like.
	Group string
	// hosts says that the fault takes hosts with clients outside of them.
	hosts bool
	// database says that the fault is one of the database.
	database bool
	// needs is a command that the fault takes; "" if none.
	needs string
	do    func(ctx context.Context, s *Scene) error
}

// Scene is where one fault happens: the cluster, a source of randomness, and how
// long it is to last.
type Scene struct {
	*rig.Rig

	rng  *rand.Rand
	hold time.Duration
	// claimed are the nodes that this fault has to itself.
	claimed []int
}

// Do has the fault happen. Seed is its own.
func (f Fault) Do(ctx context.Context, r *rig.Rig, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0)) // #nosec G404 -- repeatable
	s := &Scene{Rig: r, rng: rng}
	s.hold = time.Second + time.Duration(rng.Int64N(int64(4*time.Second)))
	defer func() {
		for _, i := range s.claimed {
			r.Release(i)
		}
	}()
	if err := f.do(ctx, s); err != nil && !errors.Is(err, errNobody) {
		return fmt.Errorf("nemesis: %s: %w", f.Name, err)
	}
	return nil
}

// errNobody says that all nodes that the fault could hit have another one.
var errNobody = errors.New("nobody is left for it")

// Faults are all faults.
func Faults() []Fault {
	return slices.Concat(processes, partitions, links, leaders, disks, databases, controls, rots, others)
}

// Pick picks faults by their names or groups, with commas; "" or "all": all. Those
// that this rig cannot have are left out, and named.
func Pick(list string, r *rig.Rig) (picked []Fault, left []string, err error) {
	wanted := strings.Split(list, ",")
	everything := list == "" || list == "all"
	used := make(map[string]bool)
	var names []string
	for _, f := range Faults() {
		names = append(names, f.Name)
		if !everything && !slices.Contains(wanted, f.Name) && !slices.Contains(wanted, f.Group) {
			continue
		}
		used[f.Name], used[f.Group] = true, true
		missing := false
		if f.needs != "" {
			_, err := exec.LookPath(f.needs)
			missing = err != nil
		}
		if missing || f.hosts && r.Outside == nil || f.database && r.DB == nil {
			left = append(left, f.Name)
			continue
		}
		picked = append(picked, f)
	}
	for _, name := range wanted {
		if !everything && !used[name] {
			return nil, nil, fmt.Errorf("nemesis: there is no fault %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return picked, left, nil
}

// leader claims the node that leads, or any if none does.
func (s *Scene) leader() (int, error) {
	if i := s.Leader(); i >= 0 {
		return s.claim(i)
	}
	return s.any()
}

// follower claims a node that does not lead.
func (s *Scene) follower() (int, error) {
	leader := s.Leader()
	for _, i := range s.rng.Perm(len(s.Nodes)) {
		if i == leader {
			continue
		}
		if _, err := s.claim(i); err == nil {
			return i, nil
		}
	}
	return 0, errNobody
}

func (s *Scene) any() (int, error) {
	for _, i := range s.rng.Perm(len(s.Nodes)) {
		if _, err := s.claim(i); err == nil {
			return i, nil
		}
	}
	return 0, errNobody
}

// everybody claims all nodes.
func (s *Scene) everybody() error {
	for i := range s.Nodes {
		if _, err := s.claim(i); err != nil {
			return errNobody
		}
	}
	return nil
}

func (s *Scene) claim(i int) (int, error) {
	if !s.Up(i) || !s.Claim(i) {
		return 0, errNobody
	}
	s.claimed = append(s.claimed, i)
	return i, nil
}

// wait waits, unless the run ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// between is a time between two.
func (s *Scene) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rng.Int64N(int64(to-from)))
}
