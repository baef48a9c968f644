package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// history is what the clients asked and were answered.
type history struct {
	// now orders all calls and returns.
	now atomic.Int64
	mu  sync.Mutex
	ops []porcupine.Operation
}

func (h *history) add(client int, in input, call int64, out output) {
	end := h.now.Add(1)
	if out.unknown {
		end = int64(1) << 62 // it may yet happen
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
}

// client asks for one thing after the other. One that is pinned always asks the
// same node.
type client struct {
	w       *world
	h       *history
	number  int
	rng     *rand.Rand
	pinned  string
	counter int
}

func newClient(w *world, h *history, seed uint64, number int) *client {
	c := &client{w: w, h: h, number: number, rng: rand.New(rand.NewPCG(seed, uint64(number)+2))} //nolint:gosec // repeatable
	if number < len(w.ids) {
		c.pinned = w.ids[number]
	}
	return c
}

const keys = 4

func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, time.Duration(c.rng.IntN(30))*time.Millisecond)
		key := fmt.Sprintf("k%d", c.rng.IntN(keys))
		switch c.rng.IntN(4) {
		case 0:
			c.write(key)
		case 1:
			c.swap(key)
		default:
			c.read(key)
		}
	}
}

func (c *client) at() string {
	if c.pinned != "" {
		return c.pinned
	}
	return c.w.ids[c.rng.IntN(len(c.w.ids))]
}

// next is a value that nobody else writes.
func (c *client) next() string {
	c.counter++
	return fmt.Sprintf("%d.%d", c.number, c.counter)
}

// get reads a row by way of a node.
func (c *client) get(ctx context.Context, key, at string) (value string, version uint64, err error) {
	n := c.w.peer("", at)
	if n == nil {
		return "", 0, errUnreached
	}
	var v *fsm.View
	if c.w.bugs.LocalReads {
		v = n.Local()
	} else if v, err = n.Read(ctx); err != nil {
		return "", 0, err
	}
	defer v.Close()
	row, _, err := v.Get([]byte(key))
	return string(row.Value), row.Version, err
}

func (c *client) read(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call := c.h.now.Add(1)
	if value, _, err := c.get(ctx, key, c.at()); err == nil {
		c.h.add(c.number, input{op: opRead, key: key}, call, output{value: value})
	}
}

func (c *client) write(key string) {
	value := c.next()
	call := c.h.now.Add(1)
	code, err := c.propose(&fsmpb.Command{Writes: []*fsmpb.Write{{Key: []byte(key), Value: []byte(value)}}})
	c.note(input{op: opWrite, key: key, value: value}, call, code, err)
}

// swap replaces what it has read before, unless that has changed.
func (c *client) swap(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	before, version, err := c.get(ctx, key, c.at())
	if err != nil {
		return
	}
	value := c.next()
	call := c.h.now.Add(1)
	code, err := c.propose(&fsmpb.Command{
		Checks: []*fsmpb.Check{{Key: []byte(key), Version: version}},
		Writes: []*fsmpb.Write{{Key: []byte(key), Value: []byte(value)}},
	})
	c.note(input{op: opSwap, key: key, before: before, value: value}, call, code, err)
}

func (c *client) note(in input, call int64, code fsm.Code, err error) {
	switch {
	case errors.Is(err, cluster.ErrUnknown):
		c.h.add(c.number, in, call, output{unknown: true})
	case err != nil: // it has not happened and will not
	case code == fsm.Conflict:
		c.h.add(c.number, in, call, output{refused: true})
	default:
		c.h.add(c.number, in, call, output{})
	}
}

// propose proposes by way of a node, which hands it to the one that it takes for
// the leader, until there is an outcome. What is in doubt is tried again under
// the same request id. ErrUnknown: it is in doubt still.
func (c *client) propose(cmd *fsmpb.Command) (fsm.Code, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	doubt := false
	for {
		code, err := c.try(ctx, cmd)
		if err == nil {
			return code, nil
		}
		doubt = doubt || errors.Is(err, cluster.ErrUnknown)
		if ctx.Err() != nil {
			if doubt {
				return 0, cluster.ErrUnknown
			}
			return 0, err
		}
		if c.w.bugs.ForgetIDs {
			cmd.RequestId = nil
		}
		wait(ctx, 20*time.Millisecond)
	}
}

func (c *client) try(ctx context.Context, cmd *fsmpb.Command) (fsm.Code, error) {
	at := c.at()
	n := c.w.peer("", at)
	if n == nil {
		return 0, errUnreached
	}
	if cmd.RequestId == nil {
		cmd.RequestId = c.requestID(n.Now())
	}
	leader := n.Status().LeaderID
	there := c.w.peer(at, leader)
	if there == nil {
		return 0, errUnreached
	}
	copied := &fsmpb.Command{RequestId: cmd.GetRequestId(), Checks: cmd.GetChecks(), Writes: cmd.GetWrites()}
	r, err := there.Propose(ctx, copied)
	if err == nil && c.w.peer(at, leader) != there { // the answer is lost
		err = cluster.ErrUnknown
	}
	if err != nil {
		return 0, err
	}
	if r.Code != fsm.OK && r.Code != fsm.Conflict && r.Code != fsm.Duplicate {
		return 0, fmt.Errorf("%w: sim: a command ends with %s", errUnreached, r.Code)
	}
	return r.Code, nil
}

// requestID is a UUIDv7 (RFC 9562, section 5.7) of cluster time.
func (c *client) requestID(now time.Time) []byte {
	id := make([]byte, 0, 16)
	id = binary.BigEndian.AppendUint64(id, uint64(now.UnixMilli())<<16|0x7000) // #nosec G115 -- after 1970
	return binary.BigEndian.AppendUint64(id, c.rng.Uint64()>>2|1<<63)
}
