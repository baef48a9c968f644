package core_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// unsure is a node that does not learn what became of the next rekey.
type unsure struct {
	core.Node
	next, applies atomic.Bool
}

func (n *unsure) Propose(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error) {
	shares := slices.ContainsFunc(cmd.GetWrites(), func(w *fsmpb.Write) bool { return bytes.Equal(w.GetKey(), state.BootKey("seal")) })
	if !shares || !n.next.CompareAndSwap(true, false) {
		return n.Node.Propose(ctx, cmd)
	}
	if n.applies.Load() {
		if _, err := n.Node.Propose(ctx, cmd); err != nil {
			return fsm.Result{}, err
		}
	}
	return fsm.Result{}, fmt.Errorf("%w: on purpose", state.ErrUnknownOutcome)
}

// New shares are answered with though nobody knows whether they count: they may be
// the only ones. The node goes on in either case.
func TestRekeyOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, applied := range []bool{true, false} {
		t.Run(fmt.Sprint("applied ", applied), func(t *testing.T) {
			t.Parallel()
			n := new(unsure)
			s := kit.New(t, kit.Core(func(c *core.Config) { n.Node, c.Node = c.Node, n }))
			check := secret(t, s)
			start := must(t, open(s, "sys/rekey/init", body{"secret_shares": 1, "secret_threshold": 1, "require_verification": false}))
			n.applies.Store(applied)
			n.next.Store(true)
			made := give(t, s, "sys/rekey/update", start.Text("nonce"), s.Keys[0])
			if n.next.Load() || made.At("verification_required") != true || len(made.Strings("warnings")) != 1 {
				t.Fatalf("%s", made.Raw)
			}
			before, keys := s.Keys, made.Strings("keys")
			if !applied {
				before, keys = keys, before
			}
			check()
			s.Put("sys/rotate", nil)
			s.Put("sys/seal", nil)
			refused(t, open(s, "sys/unseal", body{"key": before[0]}), 400, "not one of the present shares")
			s.Keys = keys
			s.Unseal()
			check()
			s.Must(http.StatusOK, kit.Request{Path: "sys/key-status"})
		})
	}
}
