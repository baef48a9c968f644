package httpapi

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
)

const inFlightShards = 16

// InFlight are the requests that a node is answering, whichever listener they
// came to. It is safe for concurrent use; the zero value holds none.
type InFlight struct {
	next   atomic.Uint32
	shards [inFlightShards]inFlightShard
}

type inFlightShard struct {
	mu       sync.Mutex
	requests map[*request]time.Time
}

// begin notes a request and returns what ends it.
func (f *InFlight) begin(r *request, at time.Time) *inFlightShard {
	shard := &f.shards[f.next.Add(1)%inFlightShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.requests == nil {
		shard.requests = make(map[*request]time.Time)
	}
	shard.requests[r] = at
	return shard
}

func (s *inFlightShard) end(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, r)
}

// list tells of each request what Vault's clients know it by.
func (f *InFlight) list() map[string]any {
	out := make(map[string]any)
	for i := range f.shards {
		shard := &f.shards[i]
		shard.mu.Lock()
		for r, at := range shard.requests {
			out[r.id] = map[string]any{
				"start_time": at.UTC().Format(time.RFC3339Nano), "client_remote_address": r.RemoteAddr,
				"request_path": r.URL.Path, "request_method": r.Method,
			}
		}
		shard.mu.Unlock()
	}
	return out
}

// inFlight answers sys/in-flight-req.
func (s *server) inFlight(_ context.Context, r *request) (*response, error) {
	list := s.InFlight.list()
	return &response{envelope: &answer.Envelope{RequestID: r.id, Data: list, Extra: list}}, nil
}
