package audit

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a device's queue.
const (
	queueRecords = 1024
	queueBytes   = 16 << 20
	batchRecords = 128
	batchBytes   = 1 << 20
	gatherings   = 4
)

// A device that failed is tried again after pauses of these lengths.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 15 * time.Second
)

// Why a device did not take a record.
var (
	errClosed = errors.New("audit: the device is closed")
	errFull   = errors.New("audit: the device's queue is full")
	errPaused = errors.New("audit: the device failed lately")
)

// item is a record on its way to a device.
type item struct {
	line []byte
	// first, if set, is another record that goes before it. Both count or neither.
	first []byte
	done  chan<- error
	// urgent items are written by a device that failed lately, too: there is no
	// other.
	urgent bool
}

// size is in bytes.
func (it *item) size() int { return len(it.first) + len(it.line) }

// records is how many it holds.
func (it *item) records() int {
	if it.first != nil {
		return 2
	}
	return 1
}

// device writes records to one sink, in the order in which they came.
type device struct {
	entry    Entry
	form     form
	mac      *hasher
	deadline time.Duration
	log      *slog.Logger

	queue   chan item
	queued  atomic.Int64 // bytes
	done    chan struct{}
	reopen  atomic.Bool
	busy    atomic.Int64 // since when a write is under way, in Unix nanoseconds
	written atomic.Uint64
	missed  atomic.Uint64

	// batch and lines are what run works with.
	batch []item
	lines [][]byte

	mu     sync.Mutex
	closed bool
	failed time.Time // since when; zero for a device that works
	again  time.Time // when it is tried again
	pause  time.Duration
	why    error
}

func newDevice(e Entry, f form, key []byte, deadline time.Duration, log *slog.Logger) *device {
	return &device{
		entry: e, form: f, mac: newHasher(key), deadline: deadline, log: log.With("device", e.Path),
		queue: make(chan item, queueRecords), done: make(chan struct{}),
	}
}

// submit hands a record over without waiting for anything.
func (d *device) submit(it item) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	size := int64(it.size())
	if queued := d.queued.Load(); queued > 0 && queued+size > queueBytes {
		d.missed.Add(uint64(it.records()))
		return errFull
	}
	select {
	case d.queue <- it:
		d.queued.Add(size)
		return nil
	default:
		d.missed.Add(uint64(it.records()))
		return errFull
	}
}

// ready reports whether the device is worth waiting for.
func (d *device) ready(now time.Time) bool {
	if d.hangs(now) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed.IsZero() || !now.Before(d.again)
}

// hangs reports whether a write takes longer than any may.
func (d *device) hangs(now time.Time) bool {
	since := d.busy.Load()
	return since != 0 && now.Sub(time.Unix(0, since)) >= d.deadline
}

// works reports whether the last write succeeded, and none hangs.
func (d *device) works(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed.IsZero() && !d.hangs(now)
}

// close lets the device write what is queued, and end.
func (d *device) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		close(d.queue)
	}
}

// run writes what is queued until the device is closed.
func (d *device) run(ctx context.Context, s sink) {
	defer close(d.done)
	if _, err := d.limited(ctx, func(ctx context.Context) (int, error) { return 0, s.Open(ctx) }); err != nil {
		d.fail(err)
	}
	for first := range d.queue {
		batch := d.gather(first)
		if d.reopen.Swap(false) {
			_ = s.Close() // it is opened again by the write
		}
		d.write(ctx, s, batch)
	}
	if err := s.Close(); err != nil {
		d.log.Warn("an audit device could not be closed", "error", err)
	}
}

// gather takes what else is queued, so that one write serves many requests.
// Those that are at work already may come along: under load they would else
// find this goroutine ahead of them, each in turn. It waits for nobody, and as
// long as more keep coming only a few times.
func (d *device) gather(first item) []item {
	d.batch = append(d.batch[:0], first)
	size := first.size()
	for range gatherings {
		runtime.Gosched()
		if before := len(d.batch); !d.drain(&size) || len(d.batch) == before {
			break
		}
	}
	return d.batch
}

// drain takes what is queued now, and reports whether there is room for more.
func (d *device) drain(size *int) bool {
	for len(d.batch) < batchRecords && *size < batchBytes {
		select {
		case it, ok := <-d.queue:
			if !ok {
				return false
			}
			d.batch = append(d.batch, it)
			*size += it.size()
		default:
			return true
		}
	}
	return false
}

// limited runs a piece of work on the sink within the device's deadline.
func (d *device) limited(ctx context.Context, work func(ctx context.Context) (int, error)) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, d.deadline)
	defer cancel()
	d.busy.Store(time.Now().UnixNano())
	defer d.busy.Store(0)
	return work(ctx)
}

func (d *device) write(ctx context.Context, s sink, batch []item) {
	for i := range batch {
		d.queued.Add(-int64(batch[i].size()))
	}
	if batch = d.worthwhile(batch); len(batch) == 0 {
		return
	}
	lines := d.lines[:0]
	for i := range batch {
		if batch[i].first != nil {
			lines = append(lines, batch[i].first)
		}
		lines = append(lines, batch[i].line)
	}
	d.lines = lines
	n, err := d.limited(ctx, func(ctx context.Context) (int, error) {
		n, err := s.Write(ctx, lines)
		if err != nil && ctx.Err() == nil { // the peer may only have closed an idle connection
			var more int
			more, err = s.Write(ctx, lines[n:])
			n += more
		}
		return n, err
	})
	d.written.Add(uint64(n))
	d.missed.Add(uint64(len(lines) - n))
	if err != nil {
		d.fail(err)
	} else {
		d.recover()
	}
	end := 0 // of an item's lines
	for i := range batch {
		it := &batch[i]
		if end += it.records(); end <= n {
			it.done <- nil
		} else {
			it.done <- err
		}
	}
	clear(lines)
	clear(batch)
}

// worthwhile answers for a device that is not to be tried yet.
func (d *device) worthwhile(batch []item) []item {
	d.mu.Lock()
	paused := !d.failed.IsZero() && time.Now().Before(d.again)
	d.mu.Unlock()
	if !paused {
		return batch
	}
	kept := batch[:0]
	for _, it := range batch {
		if it.urgent {
			kept = append(kept, it)
			continue
		}
		d.missed.Add(uint64(it.records()))
		it.done <- errPaused
	}
	return kept
}

func (d *device) fail(err error) {
	now := time.Now()
	d.mu.Lock()
	first := d.failed.IsZero()
	if first {
		d.failed, d.pause = now, firstPause
	} else {
		d.pause = min(2*d.pause, lastPause)
	}
	d.again, d.why = now.Add(d.pause), err
	d.mu.Unlock()
	if first {
		d.log.Error("an audit device failed and is passed over while another works", "error", err)
	}
}

func (d *device) recover() {
	d.mu.Lock()
	since := d.failed
	d.failed, d.why = time.Time{}, nil
	d.mu.Unlock()
	if !since.IsZero() {
		d.log.Info("an audit device works again", "failed_for", time.Since(since), "missed", d.missed.Load())
	}
}

// Status is how a device does.
type Status struct {
	Path, Type string
	Works      bool
	// Written and Missed count records since the device was opened here.
	Written, Missed uint64
}

func (d *device) status(now time.Time) Status {
	return Status{
		Path: d.entry.Path, Type: d.entry.Type, Works: d.works(now), Written: d.written.Load(), Missed: d.missed.Load(),
	}
}
