package database

import (
	"context"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// waitFor bounds how long a request waits for what Due does for it.
	waitFor = 45 * time.Second
	// maxOutcomes bounds how many are remembered that nobody fetched, and
	// maxWaiting how many requests wait for one static role.
	maxOutcomes = 1000
	maxWaiting  = 64
)

// outcome is how a rotation ended that a request ordered.
type outcome struct {
	done chan struct{}
	err  error
}

// outcomes lets requests wait for what Due does for them on the same node: both
// run on the leader.
type outcomes struct {
	mu   sync.Mutex
	list map[string]*outcome
	ids  []string
}

func newOutcomes() *outcomes { return &outcomes{list: make(map[string]*outcome)} }

func (o *outcomes) getLocked(id string) *outcome {
	got := o.list[id]
	if got == nil {
		if len(o.ids) >= maxOutcomes {
			delete(o.list, o.ids[0])
			o.ids = o.ids[1:]
		}
		got = &outcome{done: make(chan struct{})}
		o.list[id], o.ids = got, append(o.ids, id)
	}
	return got
}

// tell says how it ended, or failed for now. The first time counts.
func (o *outcomes) tell(ids []string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		got := o.getLocked(id)
		select {
		case <-got.done:
		default:
			got.err = err
			close(got.done)
		}
	}
}

// wait waits for the outcome.
func (o *outcomes) wait(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, waitFor)
	defer cancel()
	o.mu.Lock()
	got := o.getLocked(id)
	o.mu.Unlock()
	select {
	case <-got.done:
		return got.err
	case <-ctx.Done():
		return engines.Errorf(engines.KindUnknownOutcome, "the rotation has been ordered and goes on, but took longer than the request")
	}
}
