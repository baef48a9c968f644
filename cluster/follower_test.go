package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
)

// asking lets the nodes of a network ask each other for the index to read at,
// as long as neither of the two is cut off.
func asking(w **network) func(*cluster.Config) {
	return func(c *cluster.Config) {
		id := c.NodeID
		c.ReadIndex = func(ctx context.Context, leader string) (uint64, error) {
			(*w).mu.Lock()
			n, cut := (*w).nodes[leader], (*w).cut[id] || (*w).cut[leader]
			(*w).mu.Unlock()
			if n == nil || cut {
				return 0, errors.New("not reached")
			}
			return n.ReadIndex(ctx)
		}
	}
}

// followed is a network whose followers read.
func followed(t *testing.T, size int) *network {
	t.Helper()
	w := new(network)
	*w = network{}
	holder := w
	edit := asking(&holder)
	made := newNetwork(t, size, func(c *cluster.Config) { edit(c) })
	holder = made
	return made
}

// TestFollowersRead: what was acknowledged is read on every node at once, also
// while leadership moves.
func TestFollowersRead(t *testing.T) {
	t.Parallel()
	w := followed(t, 3)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		defer close(stop)
		for i := range 30 {
			want := fmt.Sprint(i)
			w.propose(identified(w.leader(), "k", want))
			for id, n := range w.nodes {
				if got := value(t, read(t, n), "k"); got != want {
					t.Errorf("node %s reads %q after %q was acknowledged", id, got, want)
				}
			}
			if i%10 == 9 {
				_ = w.leader().StepDown(within(t, patience)) // may have lost it already
			}
		}
	})
	// Others read all the time, and what they read never goes backwards.
	for _, n := range w.nodes {
		wg.Go(func() {
			last := -1
			for {
				select {
				case <-stop:
					return
				default:
				}
				now := -1
				_, _ = fmt.Sscan(value(t, read(t, n), "k"), &now)
				if now < last {
					t.Errorf("read %d after %d", now, last)
					return
				}
				last = now
			}
		})
	}
	wg.Wait()
}

// TestMinorityDoesNotRead: a node that is cut off refuses, and reads again once
// it is not.
func TestMinorityDoesNotRead(t *testing.T) {
	t.Parallel()
	w := followed(t, 3)
	w.propose(identified(w.leader(), "k", "v"))
	// All have to know all: one that has not heard of a member yet does not vote
	// for it, and two such nodes elect nobody.
	w.settled()
	id := w.idOf(w.leader())
	old := w.nodes[id]
	w.isolate(id, true)
	began := time.Now()
	if _, err := old.Read(within(t, patience)); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("cut off, it reads: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %s to refuse", took)
	}
	w.propose(identified(w.leader(), "k", "w"))
	w.isolate(id, false)
	if got := value(t, read(t, old), "k"); got != "w" {
		t.Errorf("healed, it reads %q", got)
	}
}
