package logs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
)

const (
	// maxFollowers bounds who follows the log at once, and kept how many lines
	// wait for one of them.
	maxFollowers = 16
	kept         = 512
)

// ErrBusy is too many followers.
var ErrBusy = errors.New("logs: too many follow the log already")

// Follower is somebody who reads the log as it is written.
type Follower struct {
	level slog.Level
	json  bool
	lines chan []byte
}

// Lines are what is logged, each with its end of line.
func (f *Follower) Lines() <-chan []byte { return f.lines }

// Closed is closed when there will be no more lines.
func (h *Hub) Closed() <-chan struct{} { return h.closed }

// Follow shows the log from a level on, until Leave.
func (h *Hub) Follow(level slog.Level, json bool) (*Follower, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.followers) >= maxFollowers || h.shut {
		return nil, ErrBusy
	}
	f := &Follower{level: level, json: json, lines: make(chan []byte, kept)}
	h.followers[f] = struct{}{}
	h.lookedAtLocked()
	return f, nil
}

// Leave ends what Follow began.
func (h *Hub) Leave(f *Follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.followers, f)
	h.lookedAtLocked()
}

// Close lets all followers go. The log goes on.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shut {
		h.shut = true
		close(h.closed)
	}
}

func (h *Hub) lookedAtLocked() {
	lowest := nobody
	for f := range h.followers {
		lowest = min(lowest, int64(f.level))
	}
	h.lowest.Store(lowest)
}

// show gives a record to the followers.
func (h *Hub) show(ctx context.Context, derive []func(slog.Handler) slog.Handler, r slog.Record) {
	h.mu.Lock()
	followers := make([]*Follower, 0, len(h.followers))
	for f := range h.followers {
		followers = append(followers, f)
	}
	h.mu.Unlock()
	for _, f := range followers {
		if r.Level < f.level {
			continue
		}
		var line bytes.Buffer
		options := &slog.HandlerOptions{Level: f.level}
		var to slog.Handler = slog.NewTextHandler(&line, options)
		if f.json {
			to = slog.NewJSONHandler(&line, options)
		}
		for _, d := range derive {
			to = d(to)
		}
		if to.Handle(ctx, r) != nil {
			continue
		}
		select {
		case f.lines <- line.Bytes():
		default: // it does not keep up
		}
	}
}
