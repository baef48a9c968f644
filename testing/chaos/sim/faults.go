package sim

import (
	"context"
	"time"
)

// fault is something that happens to the world. It does not wait for an outcome.
type fault struct {
	name string
	do   func(ctx context.Context, w *world)
}

// pick is one of the hosts.
func (w *world) pick() string { return w.ids[w.rng.IntN(len(w.ids))] }

func faults() []fault {
	return []fault{
		{"heal", func(_ context.Context, w *world) { w.healAll() }},
		{"isolate", func(_ context.Context, w *world) { w.isolate(w.pick()) }},
		{"isolate the leader", func(_ context.Context, w *world) { w.isolate(w.leader()) }},
		{"cut one way", func(_ context.Context, w *world) {
			if from, to := w.pick(), w.pick(); from != to {
				w.sever(from, to)
			}
		}},
		{"bridge", func(_ context.Context, w *world) { // only the first reaches all
			w.healAll()
			at := w.rng.IntN(len(w.ids))
			a, b := w.ids[(at+1)%len(w.ids)], w.ids[(at+2)%len(w.ids)]
			w.sever(a, b)
			w.sever(b, a)
		}},
		{"kill", func(_ context.Context, w *world) { w.crash(w.pick(), false) }},
		{"kill the leader", func(_ context.Context, w *world) { w.crash(w.leader(), false) }},
		{"power loss", func(_ context.Context, w *world) { w.crash(w.pick(), true) }},
		{"power loss of all", func(_ context.Context, w *world) {
			for _, id := range w.ids {
				w.crash(id, true)
			}
		}},
		{"step down", func(ctx context.Context, w *world) {
			if n := w.peer("", w.leader()); n != nil {
				go func() { _ = n.StepDown(ctx) }()
			}
		}},
		{"snapshot", func(ctx context.Context, w *world) {
			if n := w.peer("", w.pick()); n != nil {
				go func() { _ = n.ForceSnapshot(ctx) }()
			}
		}},
		{"set a clock", func(_ context.Context, w *world) { w.set(w.pick()) }},
	}
}

// set sets the clock of a host up to an hour off.
func (w *world) set(id string) {
	w.hosts[id].clock.set(time.Duration(w.rng.IntN(7200)-3600) * time.Second)
}

func (w *world) isolate(id string) {
	for _, other := range w.ids {
		if other != id {
			w.sever(id, other)
			w.sever(other, id)
		}
	}
}

// leader is the host of a node that takes itself for the leader, or any.
func (w *world) leader() string {
	for _, id := range w.ids {
		if n := w.peer("", id); n != nil && n.Status().Leader {
			return id
		}
	}
	return w.pick()
}

// disturb makes things happen until ctx ends, and then heals everything. What is
// down comes back after a while.
func (w *world) disturb(ctx context.Context, all []fault, told func(name string)) error {
	for ctx.Err() == nil {
		wait(ctx, time.Duration(20+w.rng.IntN(380))*time.Millisecond)
		f := all[w.rng.IntN(len(all))]
		told(f.name)
		f.do(ctx, w)
		for _, id := range w.ids {
			if w.down(id) && w.rng.IntN(3) == 0 {
				told("start " + id)
				if err := w.start(id); err != nil {
					return err
				}
			}
		}
	}
	w.healAll()
	for _, id := range w.ids {
		if w.down(id) {
			if err := w.start(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) down(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[id].node == nil
}

// wait lets simulated time pass.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
