package nemesis

import (
	"context"
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

// member removes a node from the cluster, and has it join with an empty disk.
func member(ctx context.Context, s *Scene) error {
	i, err := s.follower()
	if err != nil {
		return err
	}
	if i == 0 {
		return errNobody // it is the one that the others join by
	}
	leader := s.Leader()
	if leader < 0 {
		return errNobody
	}
	asked, cancel := context.WithTimeout(ctx, brief)
	defer cancel()
	removed := map[string]string{"server_id": fmt.Sprintf("node-%d", i+1)}
	if s.Ask(asked, leader, http.MethodPost, "sys/storage/raft/remove-peer", removed, nil) != nil {
		return nil // a member that forgets what it has voted for would be the fault of the test
	}
	s.Kill(i)
	wait(ctx, s.hold/4)
	if err := os.RemoveAll(s.Nodes[i].DataDir()); err != nil {
		return err
	}
	return s.back(i)
}
