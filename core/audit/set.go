package audit

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Empty reports whether no device is enabled.
func (s *Set) Empty() bool { return len(s.devices) == 0 }

// Write returns when at least one device has written the record. The error is
// ErrNoDevice, with its causes, or ErrClosed.
func (s *Set) Write(r *Record) error { return s.Begin(r).Wait() }

// Pending is a record that devices have been given, or will be.
type Pending struct {
	set    *Set
	record *Record
	// begun says that devices have been given it, or may not be any more.
	begun bool
	// before, if set, is a record that goes along with it, and that devices have
	// not been given by itself.
	before *Pending
	// rest are the devices that were not worth waiting for.
	rest    []*device
	results chan error
	sent    int
	failed  error
	// written says that all devices that have the record have written it.
	written bool
	// parts are what stands in the lines of who asked and for what. Most often
	// there is one device.
	parts []part
	first [1]part
}

// part is a piece of a device's line that holds the members "auth" and "request",
// and what the line is written in.
type part struct {
	device *device
	text   []byte
	room   *[]byte
}

// rooms are what lines were written in, to be used again.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// keptRoom bounds what is kept of one.
const keptRoom = 16 << 10

// Release says that a record that Wait has been asked for is not needed any more,
// for others to go After or to be like it (Record.Again).
func (p *Pending) Release() {
	// With one device, and one that is done with a line when it has written it, it is
	// certain that nobody reads it any more; a client of HTTP may.
	if p == nil || !p.written || len(p.parts) != 1 || p.parts[0].device.entry.Type != TypeFile {
		return
	}
	room := p.parts[0].room
	p.parts = nil
	if cap(*room) <= keptRoom {
		rooms.Put(room)
	}
}

// Begin gives a record to the devices that are worth it. It waits for nothing:
// the record counts once Wait says so, which has to be asked.
func (s *Set) Begin(r *Record) *Pending {
	p := s.Later(r)
	p.begin()
	return p
}

// Later keeps a record until Wait is asked, or until another is given that goes
// After it: for one that changes nothing if it is lost together with its answer.
func (s *Set) Later(r *Record) *Pending { return &Pending{set: s, record: r} }

// After is Begin of a record that follows another. If devices have not been given
// that one, they get both at once, and the other's Wait has nothing to wait for.
func (s *Set) After(before *Pending, r *Record) *Pending {
	p := s.Later(r)
	if before != nil && !before.begun && before.set == s {
		before.begun, p.before = true, before
	}
	before.Flush() // first, if the devices are others now
	p.begin()
	return p
}

// With reports whether another record, which may be nil, goes along with this one.
func (p *Pending) With(other *Pending) bool { return other != nil && p.before == other }

// records is how many devices are given.
func (p *Pending) records() uint64 {
	if p.before != nil {
		return 2
	}
	return 1
}

// begin gives the record to the devices that are worth it.
func (p *Pending) begin() {
	var good []*device
	good, p.rest = p.set.split(time.Now())
	p.begun, p.parts = true, p.first[:0]
	p.submit(good, false)
}

// Flush gives devices the record if they have not been given it.
func (p *Pending) Flush() {
	if p != nil && !p.begun {
		p.begin()
	}
}

// split tells the devices that are worth waiting for from the others.
func (s *Set) split(now time.Time) (good, rest []*device) {
	bad := func(d *device) bool { return !d.ready(now) }
	if !slices.ContainsFunc(s.devices, bad) {
		return s.devices, nil
	}
	for _, d := range s.devices {
		if bad(d) {
			rest = append(rest, d)
		} else {
			good = append(good, d)
		}
	}
	return good, rest
}

// submit gives the record to devices.
func (p *Pending) submit(devices []*device, urgent bool) {
	p.results, p.sent, p.failed = make(chan error, len(devices)), 0, nil
	size := requestBytes
	if p.record.Response != nil {
		size = responseBytes
	}
	if p.before != nil {
		size += requestBytes
	}
	for _, d := range devices {
		room := rooms.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
		e := encoder{dst: slices.Grow((*room)[:0], size), form: d.form, mac: d.mac}
		it := item{done: p.results, urgent: urgent}
		text, err := p.encode(&e, d, &it)
		*room = e.dst
		if err != nil {
			p.failed = errors.Join(p.failed, err)
			continue
		}
		if err := d.submit(it); err != nil {
			p.failed = errors.Join(p.failed, err)
			continue
		}
		p.parts = append(p.parts, part{d, text, room})
		p.sent++
	}
}

// encode writes the lines of an item, and returns what they say of who asked.
func (p *Pending) encode(e *encoder, d *device, it *item) ([]byte, error) {
	again := p.record.Again.of(d)
	end := 0
	if p.before != nil {
		text, err := e.record(p.before.record, p.set.headers, nil)
		if err != nil {
			return nil, err
		}
		if end = len(e.dst); p.record.Again == p.before {
			again = text
		}
	}
	text, err := e.record(p.record, p.set.headers, again)
	if it.line = e.dst[end:]; end > 0 {
		it.first = e.dst[:end]
	}
	return text, err
}

// of is what a device's line of the record says of who asked and for what, or
// nil.
func (p *Pending) of(d *device) []byte {
	if p == nil {
		return nil
	}
	for i := range p.parts {
		if p.parts[i].device == d {
			return p.parts[i].text
		}
	}
	return nil
}

// Wait returns when at least one device has written the record, and the one that
// goes before it.
func (p *Pending) Wait() error {
	p.Flush()
	for {
		err := p.once()
		if err == nil {
			p.set.broker.downSince.Store(0)
			return nil
		}
		if !errors.Is(err, errClosed) {
			p.set.broker.refused.Add(1)
			p.set.broker.downSince.CompareAndSwap(0, time.Now().UnixNano())
			return errors.Join(ErrNoDevice, err)
		}
		// The last device that could have written it was disabled meanwhile.
		next := p.set.broker.Current()
		if next == p.set {
			return ErrClosed
		}
		if next.Empty() {
			return nil
		}
		again := next.Later(p.record)
		again.before = p.before
		again.begin()
		p = again
	}
}

// once waits for the devices that have the record, and when they fail gives it
// to the others.
func (p *Pending) once() error {
	err := errLate
	if p.sent > 0 || p.failed != nil {
		if err = p.collect(); err == nil {
			for _, d := range p.rest {
				d.missed.Add(p.records())
			}
			return nil
		}
	}
	if len(p.rest) == 0 {
		return err
	}
	p.submit(p.rest, true)
	return p.collect()
}

// timers are stopped ones, to be used again.
var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// collect returns when one of the devices has written the record.
func (p *Pending) collect() error {
	if p.sent == 0 {
		return p.failed
	}
	timer := timers.Get().(*time.Timer) //nolint:forcetypeassert // the pool holds nothing else
	timer.Reset(p.set.broker.cfg.Deadline)
	defer func() {
		timer.Stop()
		timers.Put(timer)
	}()
	for range p.sent {
		select {
		case err := <-p.results:
			if err == nil {
				p.written = p.sent == 1
				return nil
			}
			p.failed = errors.Join(p.failed, err)
		case <-timer.C:
			return errors.Join(p.failed, errLate)
		}
	}
	return p.failed
}

// What most records fit in.
const (
	requestBytes  = 1280
	responseBytes = 2048
)

// errLate is a device that did not write a record within its deadline.
var errLate = errors.New("audit: the record was not written in time")
