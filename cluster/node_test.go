package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

func TestSmoke(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		n, err := cluster.Open(cluster.Config{Dir: dir, NodeID: "a"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if round == 0 {
			if err := n.Bootstrap(); err != nil {
				t.Fatal(err)
			}
		}
		_, term, err := n.LeadContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r, err := n.Propose(ctx, &fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte("akey"), Value: []byte("v")}}})
		if err != nil || r.Code != fsm.OK {
			t.Fatal(r, err)
		}
		v, err := n.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		row, ok, err := v.Get([]byte("akey"))
		t.Log(term, r, row, ok, err, n.Status(), n.Now())
		v.Close()
		if err := n.ForceSnapshot(); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
