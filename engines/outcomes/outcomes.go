package outcomes

import (
	"context"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// most bounds how many are remembered that nobody fetched.
const most = 1000

// Outcomes are how things ended that requests ordered, by the ids of the orders.
// It is safe for concurrent use.
type Outcomes[T any] struct {
	mu   sync.Mutex
	list map[string]*outcome[T]
	ids  []string
}

type outcome[T any] struct {
	done chan struct{}
	// What follows is there when done is closed.
	value T
	err   error
}

// New returns outcomes without any.
func New[T any]() *Outcomes[T] { return &Outcomes[T]{list: make(map[string]*outcome[T])} }

func (o *Outcomes[T]) getLocked(id string) *outcome[T] {
	got := o.list[id]
	if got == nil {
		if len(o.ids) >= most {
			delete(o.list, o.ids[0])
			o.ids = o.ids[1:]
		}
		got = &outcome[T]{done: make(chan struct{})}
		o.list[id], o.ids = got, append(o.ids, id)
	}
	return got
}

// Tell says how orders ended, or failed for now. The first time counts.
func (o *Outcomes[T]) Tell(ids []string, value T, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		got := o.getLocked(id)
		select {
		case <-got.done:
		default:
			got.value, got.err = value, err
			close(got.done)
		}
	}
}

// Wait waits for the outcome of an order, for so long at most.
func (o *Outcomes[T]) Wait(ctx context.Context, id string, within time.Duration) (value T, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	o.mu.Lock()
	got := o.getLocked(id)
	o.mu.Unlock()
	select {
	case <-got.done:
		return got.value, got.err
	case <-ctx.Done():
		return value, engines.Errorf(engines.KindUnknownOutcome, "it has been ordered and goes on, but took longer than the request")
	}
}
