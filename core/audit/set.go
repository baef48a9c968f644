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

// Pending is a record that devices have been given.
type Pending struct {
	set    *Set
	record *Record
	// rest are the devices that were not worth waiting for.
	rest    []*device
	results chan error
	sent    int
	failed  error
	// parts are what stands in the lines of who asked and for what. Most often
	// there is one device.
	parts []part
	first [1]part
}

// part is a piece of a device's line that holds the members "auth" and "request".
type part struct {
	device *device
	text   []byte
}

// Begin gives a record to the devices that are worth it. It waits for nothing:
// the record counts once Wait says so, which has to be asked.
func (s *Set) Begin(r *Record) *Pending {
	good, rest := s.split(time.Now())
	p := &Pending{set: s, record: r, rest: rest}
	p.parts = p.first[:0]
	p.submit(good, false)
	return p
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
	for _, d := range devices {
		e := encoder{dst: make([]byte, 0, size), form: d.form, mac: d.mac}
		text, err := e.record(p.record, p.set.headers, p.record.Again.of(d))
		if err != nil {
			p.failed = errors.Join(p.failed, err)
			continue
		}
		if err := d.submit(item{line: e.dst, done: p.results, urgent: urgent}); err != nil {
			p.failed = errors.Join(p.failed, err)
			continue
		}
		p.parts = append(p.parts, part{d, text})
		p.sent++
	}
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

// Wait returns when at least one device has written the record.
func (p *Pending) Wait() error {
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
		p = next.Begin(p.record)
	}
}

// once waits for the devices that have the record, and when they fail gives it
// to the others.
func (p *Pending) once() error {
	err := errLate
	if p.sent > 0 || p.failed != nil {
		if err = p.collect(); err == nil {
			for _, d := range p.rest {
				d.missed.Add(1)
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
