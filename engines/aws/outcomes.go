package aws

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// maxOutcomes bounds how many are remembered that nobody fetched.
	maxOutcomes = 1000
	// waitFor bounds how long a request waits for what goes on without it.
	waitFor = time.Minute
)

// outcome is how something ended that a request ordered.
type outcome struct {
	done chan struct{}
	// What follows is there when done is closed.
	key string
	err error
}

// outcomes lets requests wait for what Due does for them on the same node.
type outcomes struct {
	mu   sync.Mutex
	list map[string]*outcome
	ids  []string
}

func newOutcomes() *outcomes { return &outcomes{list: make(map[string]*outcome)} }

func newID() string { return rand.Text() }

func (o *outcomes) get(id string) *outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
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
func (o *outcomes) tell(ids []string, key string, err error) {
	for _, id := range ids {
		got := o.get(id)
		o.mu.Lock()
		select {
		case <-got.done:
		default:
			got.key, got.err = key, err
			close(got.done)
		}
		o.mu.Unlock()
	}
}

// wait waits for the outcome.
func (o *outcomes) wait(ctx context.Context, id string) (key string, err error) {
	ctx, cancel := context.WithTimeout(ctx, waitFor)
	defer cancel()
	got := o.get(id)
	select {
	case <-got.done:
		return got.key, got.err
	case <-ctx.Done():
		return "", engines.Errorf(engines.KindUnknownOutcome, "it has been ordered and goes on, but took longer than the request")
	}
}
