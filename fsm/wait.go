package fsm

import (
	"container/heap"
	"context"
	"sync"
)

// waiters holds who waits for which index. Its lock is taken last and held
// only for as long as the heap is touched.
type waiters struct {
	mu     sync.Mutex
	heap   waiterHeap
	closed bool
}

type waiter struct {
	index uint64
	pos   int // in the heap; -1 once it was told
	done  chan struct{}
}

// wait returns when reached() is at or beyond index. It asks again under the
// lock, so that an advance in between is not missed.
func (ws *waiters) wait(ctx context.Context, index uint64, reached func() uint64) error {
	if reached() >= index {
		return nil
	}
	w := &waiter{index: index, done: make(chan struct{})}
	ws.mu.Lock()
	if ws.closed {
		ws.mu.Unlock()
		return ErrClosed
	}
	if reached() >= index {
		ws.mu.Unlock()
		return nil
	}
	heap.Push(&ws.heap, w)
	ws.mu.Unlock()

	select {
	case <-w.done:
	case <-ctx.Done():
		ws.mu.Lock()
		if w.pos >= 0 {
			heap.Remove(&ws.heap, w.pos)
		}
		ws.mu.Unlock()
	}
	if reached() >= index {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// advance wakes whoever waited for index or less. The new state is published
// before it is called.
func (ws *waiters) advance(index uint64) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for len(ws.heap) > 0 && ws.heap[0].index <= index {
		close(heap.Pop(&ws.heap).(*waiter).done)
	}
}

// close wakes everybody.
func (ws *waiters) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for len(ws.heap) > 0 {
		close(heap.Pop(&ws.heap).(*waiter).done)
	}
}

// waiterHeap is a heap.Interface with the smallest index first.
type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].index < h[j].index }
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.pos = len(*h)
	*h = append(*h, w)
}

func (h *waiterHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.pos = -1
	return w
}
