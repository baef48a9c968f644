package httpapi_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// interrupted is a node where something comes in between a commit and its answer.
type interrupted struct {
	core.Node
	between atomic.Pointer[func()]
}

// Propose implements state.Replica.
func (n *interrupted) Propose(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
	result, err := n.Node.Propose(ctx, cmd)
	if f := n.between.Swap(nil); f != nil {
		(*f)()
	}
	return result, err
}

// TestSealedBeforeTheAnswer: a change that was made is not answered as if it had
// not been, where the node was sealed before the answer was on record.
func TestSealedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	node := new(interrupted)
	s := kit.New(t, kit.Core(func(c *core.Config) {
		node.Node = c.Node
		c.Node = node
		c.Audit.Folder = t.TempDir()
	}))
	s.Mount("kv", "kv", map[string]string{"version": "2"})
	s.Put("sys/audit/file", body{"type": "file", "options": body{"file_path": "audit.log"}})
	seal := s.Core.Seal
	node.between.Store(&seal)
	s.Must(504, kit.Request{Method: "PUT", Path: "kv/data/x", Body: value("made")})
	s.Unseal()
	if got := s.Get("kv/data/x").Text("data", "data", "v"); got != "made" {
		t.Errorf("it reads %q", got)
	}
	node.between.Store(&seal)
	part := body{"operation": "update", "path": "kv/data/x", "data": value("made of parts")}
	s.Must(504, kit.Request{Method: "PUT", Path: "sys/transaction", Body: body{"operations": []body{part}}})
	s.Unseal()
	if got := s.Get("kv/data/x").Text("data", "data", "v"); got != "made of parts" {
		t.Errorf("it reads %q", got)
	}
	s.Core.Seal()
	s.Must(503, kit.Request{Method: "PUT", Path: "kv/data/x", Body: value("not made")})
}
