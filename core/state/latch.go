package state

import (
	"context"
	"hash/maphash"
	"sync"
)

const latchStripes = 512

// latches make those who lost a commit over the same row take turns. A
// transaction holds at most one, so they cannot deadlock.
type latches struct {
	once sync.Once
	seed maphash.Seed
	sem  [latchStripes]chan struct{}
}

// latch is one held stripe.
type latch struct {
	owner  *latches
	stripe int
}

func (l *latches) init() {
	l.seed = maphash.MakeSeed()
	for i := range l.sem {
		l.sem[i] = make(chan struct{}, 1)
	}
}

func (l *latches) stripe(key []byte) int {
	return int(maphash.Bytes(l.seed, key) % latchStripes) // #nosec G115 -- below 512
}

// taken reports whether somebody holds the latch of a row.
func (l *latches) taken(key []byte) bool {
	l.once.Do(l.init)
	return len(l.sem[l.stripe(key)]) > 0
}

func (l *latches) take(ctx context.Context, key []byte) (*latch, error) {
	l.once.Do(l.init)
	stripe := l.stripe(key)
	select {
	case l.sem[stripe] <- struct{}{}:
		return &latch{owner: l, stripe: stripe}, nil
	case <-ctx.Done():
		return nil, proposeError(ctx.Err())
	}
}

func (h *latch) covers(key []byte) bool { return h != nil && h.owner.stripe(key) == h.stripe }

func (h *latch) release() {
	if h != nil {
		<-h.owner.sem[h.stripe]
	}
}
