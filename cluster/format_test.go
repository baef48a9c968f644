package cluster_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// later is a release with a kind of command that this one does not have.
type later struct {
	mu    sync.Mutex
	knows map[string]uint32 // what members have said
	// plain has the new command written as an old one, so that this release's state
	// machine can stand in for the later one.
	plain bool
}

const newKind = "new"

func (l *later) needs(cmd *fsmpb.Command) uint32 {
	if cmd.GetKind() == newKind {
		return 2
	}
	return 1
}

func (l *later) encode(cmd *fsmpb.Command) ([]byte, error) {
	if l.plain && cmd.GetKind() == newKind {
		cmd.Kind, cmd.Version = "", 1
	}
	return proto.Marshal(cmd)
}

func (l *later) known(member string) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.knows[member]
}

func (l *later) say(member string, version uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.knows[member] = version
}

// newLater starts three nodes of the later release, of which nobody has said so yet.
func newLater(t *testing.T, plain bool) (*later, *network) {
	t.Helper()
	l := &later{knows: make(map[string]uint32), plain: plain}
	w := newNetworkOf(t, 3, func(c *cluster.Config) { c.Knows = l.known }, func(c cluster.Config) (*cluster.Node, error) {
		return cluster.OpenLater(c, l.needs, l.encode)
	})
	return l, w
}

func newCommand(key string) *fsmpb.Command {
	cmd := put(key, "1")
	cmd.Kind = newKind
	return cmd
}

// TestNewCommandsWaitForAllMembers has members say one after the other that they
// know a new command: it is proposed when the last has.
func TestNewCommandsWaitForAllMembers(t *testing.T) {
	t.Parallel()
	l, w := newLater(t, true)
	for _, id := range []string{"a", "b", "c"} {
		w.onLeader(func(n *cluster.Node) error {
			if got := n.CommandVersion(); got != 1 {
				t.Errorf("version %d before %s has said what it knows", got, id)
			}
			_, err := n.Propose(within(t, patience), newCommand("k"))
			if errors.Is(err, cluster.ErrTooNew) && errors.Is(err, cluster.ErrNotProposed) {
				return nil
			}
			t.Errorf("proposed before %s knew it: %v", id, err)
			return err
		})
		w.propose(put("old", id)) // what all know goes on
		if id == w.idOf(w.leader()) {
			continue // its own word is not asked for
		}
		l.say(id, 2)
	}
	l.say(w.idOf(w.leader()), 2) // if that has changed meanwhile
	for _, id := range []string{"a", "b", "c"} {
		l.say(id, 2)
	}
	if r := w.propose(newCommand("k")); r.Code != fsm.OK {
		t.Errorf("%+v", r)
	}
	w.settled()
	for _, n := range w.nodes {
		v := n.Local()
		if value(t, v, "k") != "1" {
			t.Error("a node does not have what the new command wrote")
		}
		v.Close()
	}
}

// TestUnknownCommandHaltsMembers has the gate be told wrong: members that do not
// know a command say so and stop, at the state before it, and do not start again.
func TestUnknownCommandHaltsMembers(t *testing.T) {
	t.Parallel()
	l, w := newLater(t, false)
	for _, id := range []string{"a", "b", "c"} {
		l.say(id, 2)
	}
	before := w.propose(put("k", "0"))
	w.settled()
	_, _ = w.leader().Propose(within(t, patience), newCommand("k"))
	halted := 0
	for id, fatal := range w.fatal {
		select {
		case err := <-fatal:
			halted++
			if !strings.Contains(err.Error(), "version 2, this release knows 1") {
				t.Errorf("%s halts with %v", id, err)
			}
		case <-time.After(patience):
			t.Errorf("%s goes on", id)
		}
	}
	for id, n := range w.nodes {
		if status := n.Status(); status.Applied < before.Index {
			t.Errorf("%s stands at %d", id, status.Applied)
		}
		_ = n.Close()
	}
	if halted != 3 {
		t.Errorf("%d nodes have halted", halted)
	}
}
