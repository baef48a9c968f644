package cluster_test

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/cluster"
)

// refusing is a peer that takes entries with the first answer only.
func refusing(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	peer := tcpTransport(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case rpc := <-peer.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Success: n == 0}, nil)
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	return peer
}

func tcpTransport(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	trans, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, 10*time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = trans.Close() })
	return trans
}

// TestPipelineEnds: whoever sends on is told so once a peer has refused, and does
// not wait for ever for somebody to listen to the rest.
func TestPipelineEnds(t *testing.T) {
	t.Parallel()
	peer := refusing(t)
	trans, err := cluster.NewTransport(tcpTransport(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := trans.AppendEntriesPipeline("peer", peer.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan []bool, 1)
	go func() { // as Raft does: until the first failure
		var all []bool
		for answer := range p.Consumer() {
			if all = append(all, answer.Response().Success); !answer.Response().Success {
				break
			}
		}
		heard <- all
	}()
	sent := make(chan error, 1)
	go func() {
		for range 100 {
			if _, err := p.AppendEntries(new(raft.AppendEntriesRequest), new(raft.AppendEntriesResponse)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		if err == nil {
			t.Error("the pipeline takes entries after it has failed")
		}
	case <-time.After(20 * time.Second):
		t.Error("the sender waits for ever")
	}
	if all := <-heard; len(all) != 2 || !all[0] || all[1] {
		t.Errorf("heard %v, want a success and a failure", all)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.AppendEntries(new(raft.AppendEntriesRequest), new(raft.AppendEntriesResponse)); err == nil {
		t.Error("a closed pipeline takes entries")
	}
}
