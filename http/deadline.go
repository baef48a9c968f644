package httpapi

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time, or when the request has been
// answered. It sets no timer before somebody waits for its end, and most
// requests never wait.
type deadline struct {
	context.Context //nolint:containedctx // it is one itself
	at              time.Time

	mu    sync.Mutex
	ended bool
	timed context.Context //nolint:containedctx // made when it is first waited for
	stop  context.CancelFunc
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) {
	if at, ok := d.Context.Deadline(); ok && at.Before(d.at) {
		return at, true
	}
	return d.at, true
}

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.stop = context.WithDeadline(d.Context, d.at)
		if d.ended {
			d.stop()
		}
	}
	return d.timed.Done()
}

// Err implements context.Context.
func (d *deadline) Err() error {
	d.mu.Lock()
	timed, ended := d.timed, d.ended
	d.mu.Unlock()
	switch err := d.Context.Err(); {
	case timed != nil:
		return timed.Err()
	case err != nil:
		return err
	case ended:
		return context.Canceled
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// end ends the context.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended = true; d.stop != nil {
		d.stop()
	}
}
