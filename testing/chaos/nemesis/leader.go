package nemesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// leaders are faults that the API itself has.
var leaders = []Fault{
	{Name: "step-down", Group: "leadership", do: stepDown},
	{Name: "seal", Group: "seal", do: sealOne},
	{Name: "member", Group: "membership", do: member},
	{Name: "snapshot", Group: "snapshot", do: snapshots},
}

// brief bounds a request to a node that may not be able to answer.
const brief = 2 * time.Second

// tell asks a node for something that may well fail.
func (s *Scene) tell(ctx context.Context, i int, method, path string) {
	ctx, cancel := context.WithTimeout(ctx, brief)
	defer cancel()
	_ = s.Ask(ctx, i, method, path, map[string]any{}, nil)
}

// stepDown has whoever leads step down, again and again.
func stepDown(ctx context.Context, s *Scene) error {
	for end := time.Now().Add(s.hold); time.Now().Before(end) && ctx.Err() == nil; {
		if i := s.Leader(); i >= 0 {
			s.tell(ctx, i, http.MethodPut, "sys/step-down")
		}
		wait(ctx, s.between(10*time.Millisecond, 700*time.Millisecond))
	}
	return nil
}

// sealOne seals a node, and unseals it after a while.
func sealOne(ctx context.Context, s *Scene) error {
	i, err := s.any()
	if err != nil {
		return err
	}
	s.tell(ctx, i, http.MethodPut, "sys/seal")
	wait(ctx, s.hold)
	return s.Unseal(i)
}

// snapshots takes snapshots by way of all nodes.
func snapshots(ctx context.Context, s *Scene) error {
	for range 3 {
		for i := range s.Nodes {
			s.tell(ctx, i, http.MethodGet, "sys/storage/raft/snapshot")
		}
		wait(ctx, s.hold/4)
	}
	return nil
}

// member removes a node from the cluster, and has it join with an empty disk. All
// nodes are claimed: were another one down, the removal might be done much later,
// when nobody has the node join again.
func member(ctx context.Context, s *Scene) error {
	if err := s.everybody(); err != nil {
		return err
	}
	i := 1 + s.rng.IntN(len(s.Nodes)-1) // the first is the one that the others join by
	if err := s.remove(ctx, i); err != nil {
		return err
	}
	s.Kill(i)
	wait(ctx, s.hold/4)
	if err := os.RemoveAll(s.Nodes[i].DataDir()); err != nil {
		return err
	}
	return s.back(i)
}

// removeWithin bounds how long it may take until a node is removed.
const removeWithin = time.Minute

// remove has a node removed by whoever leads.
func (s *Scene) remove(ctx context.Context, i int) error {
	id := fmt.Sprintf("node-%d", i+1)
	err := errors.New("nobody leads")
	for end := time.Now().Add(removeWithin); time.Now().Before(end) && ctx.Err() == nil; {
		if leader := s.Leader(); leader >= 0 {
			asked, cancel := context.WithTimeout(ctx, brief)
			err = s.Ask(asked, leader, http.MethodPost, "sys/storage/raft/remove-peer", map[string]string{"server_id": id}, nil)
			if err != nil && !s.Member(asked, leader, i) {
				err = nil // it has been, by what was not answered
			}
			cancel()
			if err == nil {
				return nil
			}
		}
		wait(ctx, 100*time.Millisecond)
	}
	return fmt.Errorf("%s cannot be removed: %w", id, err)
}
