package audit

import (
	"errors"
	"time"
)

// Empty reports whether no device is enabled.
func (s *Set) Empty() bool { return len(s.devices) == 0 }

// Write returns when at least one device has written the record. The error is
// ErrNoDevice, with its causes, or ErrClosed.
func (s *Set) Write(r *Record) error {
	for {
		err := s.write(r)
		if err == nil {
			s.broker.downSince.Store(0)
			return nil
		}
		if !errors.Is(err, errClosed) {
			s.broker.refused.Add(1)
			s.broker.downSince.CompareAndSwap(0, time.Now().UnixNano())
			return errors.Join(ErrNoDevice, err)
		}
		// The last device that could have written it was disabled meanwhile.
		next := s.broker.Current()
		if next == s {
			return ErrClosed
		}
		if s = next; s.Empty() {
			return nil
		}
	}
}

// write tries the devices that are worth it, and when they fail the others.
func (s *Set) write(r *Record) error {
	now := time.Now()
	var good, rest []*device
	for _, d := range s.devices {
		if d.ready(now) {
			good = append(good, d)
		} else {
			rest = append(rest, d)
		}
	}
	err := errLate
	if len(good) > 0 {
		if err = s.writeTo(good, r, false); err == nil {
			for _, d := range rest {
				d.missed.Add(1)
			}
			return nil
		}
	}
	if len(rest) == 0 {
		return err
	}
	return s.writeTo(rest, r, true)
}

// writeTo returns when one of the devices has written the record.
func (s *Set) writeTo(devices []*device, r *Record, urgent bool) error {
	results := make(chan error, len(devices))
	sent := 0
	var failed error
	for _, d := range devices {
		e := encoder{dst: make([]byte, 0, recordBytes), form: d.form, mac: d.mac}
		if err := e.record(r, s.headers); err != nil {
			return err
		}
		if err := d.submit(item{line: e.dst, done: results, urgent: urgent}); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		sent++
	}
	timer := time.NewTimer(s.broker.cfg.Deadline)
	defer timer.Stop()
	for range sent {
		select {
		case err := <-results:
			if err == nil {
				return nil
			}
			failed = errors.Join(failed, err)
		case <-timer.C:
			return errors.Join(failed, errLate)
		}
	}
	return failed
}

// recordBytes is what most records fit in.
const recordBytes = 1024

// errLate is a device that did not write a record within its deadline.
var errLate = errors.New("audit: the record was not written in time")
