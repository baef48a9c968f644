package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if t.halted.Load() {
		return nil, errHalted
	}
	inner, err := t.Transport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(inner), nil
}

// pipeline ends once an answer in it is a failure.
//
// Raft stops listening then, while its sender may be about to send more. The
// library's pipeline holds the sender up until what is under way has been listened
// to, so the sender waits for ever, and the peer gets nothing more until another
// node leads, though heartbeats go on and both look well. Here whatever comes after
// the failure is listened to and forgotten, and nothing more is sent.
type pipeline struct {
	raft.AppendPipeline

	answers chan raft.AppendFuture
	failed  chan struct{}
	closed  chan struct{}
	close   sync.Once
}

func newPipeline(inner raft.AppendPipeline) *pipeline {
	p := &pipeline{AppendPipeline: inner, answers: make(chan raft.AppendFuture), failed: make(chan struct{}), closed: make(chan struct{})}
	go p.listen()
	return p
}

// listen takes answers until the pipeline is closed, and hands them on until one
// is a failure.
func (p *pipeline) listen() {
	failed := false
	for {
		select {
		case answer := <-p.AppendPipeline.Consumer():
			if failed {
				continue
			}
			if refused(answer) {
				failed = true
				close(p.failed)
			}
			select {
			case p.answers <- answer:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// refused reports whether Raft stops listening at an answer. One that never came is
// empty, which is no success either.
func refused(answer raft.AppendFuture) bool {
	return !answer.Response().Success || answer.Response().Term > answer.Request().Term
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	select {
	case <-p.failed:
		return nil, raft.ErrPipelineShutdown
	case <-p.closed:
		return nil, raft.ErrPipelineShutdown
	default:
	}
	return p.AppendPipeline.AppendEntries(req, resp)
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.close.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}
