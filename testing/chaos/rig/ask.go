package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// looks is for looking at nodes: a new connection each time, since those of
// before a fault may be dead, and no long wait.
var looks = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Ask asks a node and decodes what it answers, if that is a success.
func (r *Rig) Ask(ctx context.Context, i int, method, path string, body, out any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.Nodes[i].Address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", r.Nodes[0].RootToken)
	resp, err := looks.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode > 299 {
		return fmt.Errorf("rig: node %d: %s %s: status %d: %s", i, method, path, resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

func (r *Rig) leads(i int) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var out struct {
		Self bool `json:"is_self"`
	}
	err := r.Ask(ctx, i, http.MethodGet, "sys/leader", nil, &out)
	return out.Self, err
}

// server is a member, as a node has it.
type server struct {
	ID      string `json:"node_id"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
}

func (r *Rig) servers(ctx context.Context, i int) ([]server, error) {
	var out struct {
		Data struct {
			Config struct {
				Servers []server `json:"servers"`
			} `json:"config"`
		} `json:"data"`
	}
	err := r.Ask(ctx, i, http.MethodGet, "sys/storage/raft/configuration", nil, &out)
	return out.Data.Config.Servers, err
}

func nodeID(i int) string { return fmt.Sprintf("node-%d", i+1) }

// Member reports whether a node says that another one is a member, or does not
// say anything.
func (r *Rig) Member(ctx context.Context, at, i int) bool {
	list, err := r.servers(ctx, at)
	return err != nil || slices.ContainsFunc(list, func(s server) bool { return s.ID == nodeID(i) })
}

// findPeers asks where the nodes reach each other.
func (r *Rig) findPeers(ctx context.Context) error {
	list, err := r.servers(ctx, 0)
	r.Peers = make([]string, len(r.Nodes))
	for i := range r.Nodes {
		for _, s := range list {
			if s.ID == nodeID(i) {
				r.Peers[i] = s.Address
			}
		}
		if err == nil && r.Peers[i] == "" {
			err = fmt.Errorf("rig: nobody knows where node %d is", i)
		}
	}
	return err
}

// Voters counts the nodes that vote, as a node has it.
func (r *Rig) Voters(ctx context.Context, i int) (voters int, err error) {
	list, err := r.servers(ctx, i)
	for _, s := range list {
		if s.Voter {
			voters++
		}
	}
	return voters, err
}

// Alive waits until a write succeeds by way of each node, and each node, from
// what it has applied itself, reads what was written last. All vote then. It
// returns how long that took from its call.
func (r *Rig) Alive(ctx context.Context, round int) (time.Duration, error) {
	began := time.Now()
	failed := make([]error, len(r.Nodes))
	var wg sync.WaitGroup
	for i := range r.Nodes {
		wg.Go(func() {
			path := fmt.Sprintf("chaos/data/alive-%d", i)
			failed[i] = until(ctx, func(ctx context.Context) error {
				return r.Ask(ctx, i, http.MethodPost, path, map[string]any{"data": map[string]int{"round": round}}, nil)
			})
		})
	}
	wg.Wait()
	for i := range r.Nodes {
		wg.Go(func() {
			if failed[i] != nil {
				return
			}
			failed[i] = until(ctx, func(ctx context.Context) error { return r.caughtUp(ctx, i, round) })
		})
	}
	wg.Wait()
	for i, err := range failed {
		if err != nil {
			return time.Since(began), fmt.Errorf("rig: node %d: %w", i, err)
		}
	}
	return time.Since(began), nil
}

func (r *Rig) caughtUp(ctx context.Context, i, round int) error {
	for j := range r.Nodes {
		var out struct {
			Data struct {
				Data struct {
					Round int `json:"round"`
				} `json:"data"`
			} `json:"data"`
		}
		if err := r.Ask(ctx, i, http.MethodGet, fmt.Sprintf("chaos/data/alive-%d", j), nil, &out); err != nil {
			return err
		}
		if got := out.Data.Data.Round; got != round {
			return fmt.Errorf("rig: node %d reads round %d, written was %d", i, got, round)
		}
	}
	voters, err := r.Voters(ctx, i)
	if err == nil && voters != len(r.Nodes) {
		err = fmt.Errorf("rig: %d of %d nodes vote", voters, len(r.Nodes))
	}
	return err
}

// until tries until it succeeds; once ctx ends, it returns the last failure.
func until(ctx context.Context, try func(ctx context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := try(one)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
