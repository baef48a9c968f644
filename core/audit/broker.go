package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// DefaultDeadline is how long a device may take for a record.
const DefaultDeadline = 2 * time.Second

// ErrNoDevice is the answer when no device could record a request.
var ErrNoDevice = errors.New("audit: no device could record the request")

// ErrClosed is a broker that has been closed, as the node was sealed.
var ErrClosed = errors.New("audit: closed")

// Config says what a node's broker works with.
type Config struct {
	// Devices stand in the node's configuration.
	Devices []Entry
	// Folder is where files enabled over the API are; none may be if it is empty.
	Folder string
	Stdout io.Writer
	// Deadline is DefaultDeadline if it is not set.
	Deadline time.Duration
	Logger   *slog.Logger
}

// Check reports whether the configured devices can be made, and completes them.
func (c *Config) Check() error {
	if c.Deadline <= 0 {
		c.Deadline = DefaultDeadline
	}
	b := &Broker{cfg: *c}
	seen := make(map[string]bool)
	for i := range c.Devices {
		e := &c.Devices[i]
		if err := e.normalize(); err != nil {
			return fmt.Errorf("audit %q %q: %w", e.Type, e.Path, err)
		}
		// The same on every node, and after every start, so that hashes are.
		e.configured, e.UUID = true, "configured:"+e.Path
		if seen[e.Path] {
			return fmt.Errorf("audit %q %q: the name is used twice", e.Type, e.Path)
		}
		seen[e.Path] = true
		if _, _, err := b.open(e); err != nil {
			return fmt.Errorf("audit %q %q: %w", e.Type, e.Path, err)
		}
	}
	return nil
}

// Broker keeps the devices of an unsealed node. It is safe for concurrent use.
type Broker struct {
	cfg     Config
	key     []byte
	ctx     context.Context //nolint:containedctx // for the devices, which outlive the requests that open them
	current atomic.Pointer[Set]
	refused atomic.Uint64
	// downSince is since when no device takes records, in Unix nanoseconds.
	downSince atomic.Int64

	mu     sync.Mutex
	closed bool
}

// Set is the devices as of an index of the table. It is immutable.
type Set struct {
	broker  *Broker
	index   uint64
	devices []*device
	headers map[string]bool
}

// New returns a broker that derives the keys of its devices from key. cfg has
// been checked. ctx bounds what the devices wait for.
func New(ctx context.Context, cfg Config, key []byte) *Broker {
	b := &Broker{cfg: cfg, key: key, ctx: ctx}
	b.current.Store(b.build(nil, Table{}, 0))
	return b
}

// At returns the devices as a transaction sees them. With none enabled it costs
// one load.
func (b *Broker) At(tx *state.Tx) (*Set, error) {
	index := tx.TableIndex(state.Audit)
	if s := b.current.Load(); s.index >= index {
		return s, nil // one that is newer than the snapshot serves as well
	}
	t, err := ReadTable(tx)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.current.Load()
	if b.closed {
		return nil, ErrClosed
	}
	if old.index >= index {
		return old, nil
	}
	s := b.build(old, t, index)
	b.current.Store(s)
	for _, d := range old.devices {
		if !s.has(d) {
			d.close()
		}
	}
	return s, nil
}

// Current returns the newest devices that this node knows of.
func (b *Broker) Current() *Set { return b.current.Load() }

// build makes a set, with the devices of the old one that stay as they are.
func (b *Broker) build(old *Set, t Table, index uint64) *Set {
	s := &Set{broker: b, index: index, headers: t.Headers}
	for _, list := range [][]Entry{b.cfg.Devices, t.Devices} {
		for i := range list {
			d := old.running(&list[i])
			if d == nil {
				d = b.start(&list[i])
			}
			s.devices = append(s.devices, d)
		}
	}
	return s
}

// start starts a device. One whose options this node cannot use counts as one
// that fails.
func (b *Broker) start(e *Entry) *device {
	out, f, err := b.open(e)
	if err != nil {
		out = &broken{err}
	}
	d := newDevice(*e, f, b.deviceKey(e), b.cfg.Deadline, b.cfg.Logger)
	go d.run(b.ctx, out)
	return d
}

// broken is a sink that this node cannot have.
type broken struct{ err error }

func (s *broken) Open(context.Context) error                   { return s.err }
func (s *broken) Write(context.Context, [][]byte) (int, error) { return 0, s.err }
func (s *broken) Close() error                                 { return nil }

// deviceKey derives the key of a device's hashes: HMAC-SHA256 as a
// pseudo-random function of the device's id.
func (b *Broker) deviceKey(e *Entry) []byte {
	mac := hmac.New(sha256.New, b.key)
	mac.Write([]byte(e.UUID))
	return mac.Sum(nil)
}

func (s *Set) running(e *Entry) *device {
	if s == nil {
		return nil
	}
	for _, d := range s.devices {
		if d.entry.same(e) {
			return d
		}
	}
	return nil
}

func (s *Set) has(d *device) bool {
	for _, other := range s.devices {
		if other == d {
			return true
		}
	}
	return false
}

func (s *Set) close() {
	for _, d := range s.devices {
		d.close()
	}
}

// Close lets the devices write what they have, and waits for those that do
// within their deadline.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	s := b.current.Load()
	b.mu.Unlock()
	s.close()
	timer := time.NewTimer(b.cfg.Deadline)
	defer timer.Stop()
	for _, d := range s.devices {
		select {
		case <-d.done:
		case <-timer.C:
			b.cfg.Logger.Warn("an audit device hangs and is left behind", "device", d.entry.Path)
			return
		}
	}
}

// Reopen makes file devices open their files again.
func (b *Broker) Reopen() {
	for _, d := range b.Current().devices {
		d.reopen.Store(true)
	}
}

// Hash is what stands for a text in the records of a device; false if there is
// no such device.
func (b *Broker) Hash(path, text string) (string, bool) {
	for _, d := range b.Current().devices {
		if d.entry.Path == path {
			return d.mac.hash(text), true
		}
	}
	return "", false
}

// Statuses tells how the devices do.
func (b *Broker) Statuses() []Status {
	now := time.Now()
	var out []Status
	for _, d := range b.Current().devices {
		out = append(out, d.status(now))
	}
	return out
}

// Refused counts the requests and answers that no device took.
func (b *Broker) Refused() uint64 { return b.refused.Load() }

// Down reports whether no device has taken a record for so long, as far as
// requests have shown. Then it begins to count anew.
func (b *Broker) Down(long time.Duration) bool {
	since := b.downSince.Load()
	if since == 0 || time.Since(time.Unix(0, since)) < long {
		return false
	}
	return b.downSince.CompareAndSwap(since, 0)
}

// try opens a device that is to be enabled and writes a test record to it.
func (b *Broker) try(e *Entry) error {
	out, f, err := b.open(e)
	if err != nil {
		return err
	}
	d := newDevice(*e, f, b.deviceKey(e), b.cfg.Deadline, slog.New(slog.DiscardHandler))
	go d.run(b.ctx, out)
	defer d.close()
	s := &Set{broker: b, devices: []*device{d}}
	test := Record{Time: time.Now(), Request: Request{ID: newUUID(), Operation: engines.Update.String(), Path: "sys/audit/test"}}
	if err := s.Begin(&test).once(); err != nil {
		d.mu.Lock()
		why := d.why
		d.mu.Unlock()
		if why == nil {
			why = errors.New("it did not answer in time")
		}
		return engines.Invalidf("the device did not take a test record: %v", why)
	}
	return nil
}
