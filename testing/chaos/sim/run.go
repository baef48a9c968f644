package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// Schedule is one run.
type Schedule struct {
	Seed     uint64
	Nodes    int
	Clients  int
	Duration time.Duration // simulated
	Bugs     Bugs
}

// Result is what a run came to.
type Result struct {
	Operations, Unknown int
	Faults              []string
}

// checkWithin bounds the search for an order of the operations.
const checkWithin = time.Minute

// Run runs a schedule, inside of a bubble of testing/synctest. Its error says
// what does not hold.
func Run(s Schedule) (*Result, *History, error) {
	w := &world{tick: -1}
	defer w.close()
	if err := w.begin(s.Seed, s.Nodes, s.Bugs); err != nil {
		return nil, nil, err
	}
	out, h := new(Result), new(history)
	ctx, cancel := context.WithTimeout(context.Background(), s.Duration)
	defer cancel()
	var group sync.WaitGroup
	for i := range s.Clients {
		c := newClient(w, h, s.Seed, i)
		group.Go(func() { c.run(ctx) })
	}
	err := w.disturb(ctx, faults(), func(name string) { out.Faults = append(out.Faults, name) })
	group.Wait()
	if err == nil {
		err = w.settle(newClient(w, h, s.Seed, s.Clients))
	}
	out.Operations = len(h.ops)
	for _, op := range h.ops {
		if got, ok := op.Output.(output); ok && got.unknown {
			out.Unknown++
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return out, &History{h.ops}, errors.Join(err, w.failed)
}

// History is what the clients of a run saw.
type History struct{ ops []porcupine.Operation }

// Check reports whether the history is linearizable. It takes real time, so it
// is called outside of the bubble.
func (h *History) Check() error {
	switch porcupine.CheckOperationsTimeout(register, h.ops, checkWithin) {
	case porcupine.Illegal:
		return errors.New("sim: the history is not linearizable")
	case porcupine.Unknown:
		return errors.New("sim: the history could not be checked in time")
	}
	return nil
}

// settle waits for what must happen after all is healed: a write succeeds, each
// node gets there, and all of them have the same state. Then it reads all keys.
func (w *world) settle(c *client) error {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		if _, err = c.propose(&fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte("end"), Value: []byte(c.next())}}}); err != nil {
			continue
		}
		if err = w.same(ctx); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("sim: %s after all was healed: %w", settleWithin, err)
	}
	for _, id := range w.ids {
		c.pinned = id
		for i := range keys {
			c.read(fmt.Sprintf("k%d", i))
		}
	}
	return nil
}

// same compares the states of all nodes at one index.
func (w *world) same(ctx context.Context) error {
	type seen struct {
		index uint64
		sum   [32]byte
	}
	var all []seen
	var index uint64
	for _, id := range w.ids {
		index = max(index, w.peer("", id).Status().Applied)
	}
	var told []string
	for _, id := range w.ids {
		n := w.peer("", id)
		if err := n.WaitApplied(ctx, index); err != nil {
			return fmt.Errorf("%s does not come to %d: %w", id, index, err)
		}
		v := n.Local()
		sum, err := v.Checksum()
		all = append(all, seen{v.Index(), sum})
		told = append(told, fmt.Sprintf("%s at %d", id, v.Index()))
		v.Close()
		if err != nil {
			return err
		}
	}
	for _, s := range all[1:] {
		if s.index != all[0].index {
			return fmt.Errorf("they do not come to one index: %s", strings.Join(told, ", "))
		}
		if !bytes.Equal(s.sum[:], all[0].sum[:]) {
			return fmt.Errorf("their states differ: %s", strings.Join(told, ", "))
		}
	}
	return nil
}
