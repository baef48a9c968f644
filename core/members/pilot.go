package members

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/joining"
	"github.com/coffer-secrets/coffer/core/state"
)

// changeTimeout bounds one change of the membership.
const changeTimeout = 10 * time.Second

// Deps are what the pilot works on.
type Deps struct {
	Store   *state.Store
	Cluster Cluster
	Status  func() Status
	// Version is that of this node.
	Version string
	// Gone is told of a member that was removed; nil: nobody is.
	Gone func(id string)
	Log  func(what, id string)
}

// Pilot is the autopilot of a node. It works while the node leads. It is safe
// for concurrent use.
type Pilot struct {
	deps Deps

	mu    sync.Mutex
	term  uint64 // that the health below was seen in
	known map[string]*health
}

// health is what the leader thinks of a member.
type health struct {
	healthy bool
	since   time.Time // when that became so
	index   uint64
	silent  time.Duration
	heard   bool
}

// NewPilot returns the pilot of an unsealed node.
func NewPilot(deps Deps) *Pilot { return &Pilot{deps: deps, known: make(map[string]*health)} }

// Tick looks at the members, and changes at most one thing about them.
func (p *Pilot) Tick(ctx context.Context) error {
	status := p.deps.Status()
	if p.deps.Cluster == nil || !status.Leads || len(status.Members) < 2 {
		return nil
	}
	var config Config
	stays := make(map[string]bool) // members that are not to vote
	err := p.deps.Store.Local(func(tx *state.Tx) (err error) {
		if config, err = readConfig(tx); err != nil {
			return err
		}
		for _, m := range status.Members {
			if _, nonVoter, _, err := joining.Known(tx, m.ID); err != nil {
				return err
			} else if nonVoter {
				stays[m.ID] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	now := p.deps.Store.Now()
	p.look(&status, &config, now)
	if m := p.stable(&status, &config, stays, now); m != nil {
		p.deps.Log("a member is stable and votes from now on", m.ID)
		return p.change(ctx, func(ctx context.Context) error { return p.deps.Cluster.AddVoter(ctx, m.ID, m.Address) })
	}
	if m := p.dead(&status, &config, now); m != nil {
		p.deps.Log("a member has been silent for too long and is removed", m.ID)
		return p.Remove(ctx, m.ID)
	}
	return nil
}

// change runs a change, which another leader may have come before.
func (p *Pilot) change(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	return do(ctx)
}

// Remove takes a member out of the cluster and forgets what it said of itself.
func (p *Pilot) Remove(ctx context.Context, id string) error {
	err := p.change(ctx, func(ctx context.Context) error { return p.deps.Cluster.Remove(ctx, id) })
	if err != nil {
		return err
	}
	if p.deps.Gone != nil {
		p.deps.Gone(id)
	}
	if !p.deps.Status().Leads {
		return nil // it removed itself; who leads next finds the row
	}
	_, err = p.deps.Store.Update(ctx, func(tx *state.Tx) error { return joining.Forget(tx, id) })
	return err
}

// look judges every member.
func (p *Pilot) look(status *Status, config *Config, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term != status.Term {
		// What another term saw, or this one of before, says nothing any more.
		p.term, p.known = status.Term, make(map[string]*health)
	}
	for id := range p.known {
		if status.find(id) == nil {
			delete(p.known, id)
		}
	}
	for _, m := range status.Members {
		h := p.known[m.ID]
		if h == nil {
			h = &health{since: now}
			p.known[m.ID] = h
		}
		healthy := true
		if m.Self {
			h.index, h.heard = status.Index, true
		} else {
			h.index, h.silent, h.heard = p.deps.Cluster.Progress(m.ID)
			healthy = h.heard && h.silent <= config.Contact && h.index+config.MaxTrailing >= status.Index
		}
		if healthy != h.healthy {
			h.healthy, h.since = healthy, now
		}
	}
}

// stable finds a member that may vote from now on.
func (p *Pilot) stable(status *Status, config *Config, stays map[string]bool, now time.Time) *Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range status.Members {
		m := &status.Members[i]
		h := p.known[m.ID]
		if !m.Voter && !stays[m.ID] && h.healthy && now.Sub(h.since) >= config.Stable {
			return m
		}
	}
	return nil
}

// dead finds a member to remove. As many of the voters as are needed for a
// quorum have to be healthy, and those that are left have to be enough.
func (p *Pilot) dead(status *Status, config *Config, now time.Time) *Member {
	if !config.CleanupDead {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	voters, alive := status.voters(), 0
	var found *Member
	for i := range status.Members {
		m := &status.Members[i]
		h := p.known[m.ID]
		if h.healthy {
			if m.Voter {
				alive++
			}
			continue
		}
		if found == nil && !m.Self && now.Sub(h.since) >= config.DeadAfter && (!h.heard || h.silent >= config.DeadAfter) {
			found = m
		}
	}
	if found == nil || alive < voters/2+1 || found.Voter && int64(voters-1) < config.MinQuorum {
		return nil
	}
	return found
}

// errFollows is that a follower was asked.
var errFollows = errors.New("members: this node does not lead")

// report tells of every member's health, in the words of Vault's clients.
func (p *Pilot) report(tx *state.Tx) (map[string]any, error) {
	status := p.deps.Status()
	if !status.Leads {
		return nil, errFollows
	}
	config, err := readConfig(tx)
	if err != nil {
		return nil, err
	}
	if p.deps.Cluster != nil {
		p.look(&status, &config, p.deps.Store.Now())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	servers, voters, others, leader := make(map[string]any), []string{}, []string{}, ""
	healthyVoters, all := 0, true
	for _, m := range status.Members {
		h := p.known[m.ID]
		if h == nil {
			h = &health{healthy: m.Self, index: status.Index}
		}
		version := p.deps.Version
		if !m.Self {
			version = m.Version
		}
		if version == "" { // what it said when it joined
			if version, _, _, err = joining.Known(tx, m.ID); err != nil {
				return nil, err
			}
		}
		all = all && h.healthy
		servers[m.ID] = server(&m, h, status.Term, version)
		switch {
		case m.Voter:
			voters = append(voters, m.ID)
			if h.healthy {
				healthyVoters++
			}
		default:
			others = append(others, m.ID)
		}
		if m.Leader {
			leader = m.ID
		}
	}
	tolerance := max(0, healthyVoters-(len(voters)/2+1))
	return map[string]any{
		"healthy": all, "failure_tolerance": tolerance, "optimistic_failure_tolerance": tolerance, "servers": servers,
		"leader": leader, "voters": voters, "non_voters": others,
	}, nil
}

func server(m *Member, h *health, term uint64, version string) map[string]any {
	status, alive, nodeType := "non-voter", "alive", "non-voter"
	if m.Voter {
		status, nodeType = "voter", "voter"
	}
	if m.Leader {
		status = "leader"
	}
	if !h.healthy {
		alive = "failed"
	}
	return map[string]any{
		"id": m.ID, "name": m.ID, "address": m.Address, "node_status": alive, "last_contact": h.silent.Round(time.Millisecond).String(),
		"last_term": term, "last_index": h.index, "healthy": h.healthy, "stable_since": h.since.UTC().Format(time.RFC3339Nano),
		"status": status, "version": version, "node_type": nodeType,
	}
}
