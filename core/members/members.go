package members

import (
	"context"
	"io"
	"time"
)

// Cluster changes who belongs to the cluster. Only the leader can.
type Cluster interface {
	// AddNonvoter makes a node a member that does not vote, or changes where a
	// member is reached; AddVoter lets it vote, and Demote not any more.
	AddNonvoter(ctx context.Context, id, address string) error
	AddVoter(ctx context.Context, id, address string) error
	Demote(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	// Progress is where another member's log ends, and for how long it has not
	// answered; false if it has never answered this process.
	Progress(id string) (index uint64, silent time.Duration, ok bool)
	// RestoreSnapshot replaces the state of the cluster, and FoundFrom begins one
	// with it on a node that is part of none. Both read all of r first.
	RestoreSnapshot(ctx context.Context, r io.Reader) error
	FoundFrom(ctx context.Context, r io.Reader) error
}

// Member is one member of the cluster.
type Member struct {
	ID, Address   string
	Leader, Voter bool
	// Self says that it is this node.
	Self bool
	// Version is what it runs; empty if it has not told this node.
	Version string
}

// Status is what this node knows of the cluster.
type Status struct {
	// Leads says that this node leads.
	Leads   bool
	Term    uint64
	Index   uint64
	Members []Member
}

func (s *Status) find(id string) *Member {
	for i := range s.Members {
		if s.Members[i].ID == id {
			return &s.Members[i]
		}
	}
	return nil
}

func (s *Status) voters() int {
	n := 0
	for _, m := range s.Members {
		if m.Voter {
			n++
		}
	}
	return n
}
