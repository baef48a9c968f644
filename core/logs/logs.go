package logs

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Part is the attribute that names a part of the node, and Core the part that
// everything without a name belongs to.
const (
	Part = "part"
	Core = "core"
)

// Off is above every level.
const Off = slog.LevelError + 100

// levels are the names of levels, as configuration and API know them.
var levels = map[string]slog.Level{ //nolint:gochecknoglobals // a constant table
	"trace": slog.LevelDebug - 4, "debug": slog.LevelDebug, "info": slog.LevelInfo, "notice": slog.LevelInfo,
	"warn": slog.LevelWarn, "warning": slog.LevelWarn, "err": slog.LevelError, "error": slog.LevelError, "off": Off,
}

// Level is the level with a name; false if there is none.
func Level(name string) (slog.Level, bool) {
	level, ok := levels[name]
	return level, ok
}

// Name is the one name of a level.
func Name(level slog.Level) string {
	for _, name := range []string{"trace", "debug", "info", "warn", "error"} {
		if level <= levels[name] {
			return name
		}
	}
	return "off"
}

// Hub is the log of a node. It is safe for concurrent use.
type Hub struct {
	out slog.Handler
	// lowest is the least level that somebody follows the log at.
	lowest atomic.Int64
	closed chan struct{}

	mu         sync.Mutex
	configured slog.Level
	parts      map[string]*slog.LevelVar
	// changed are the parts whose level is not the configured one by request.
	changed   map[string]bool
	followers map[*Follower]struct{}
	shut      bool
}

// nobody is above the level of every record.
const nobody = int64(Off) + 1

// New returns a log that goes to out, which takes all levels.
func New(out slog.Handler, level slog.Level) *Hub {
	h := &Hub{
		out: out, configured: level, closed: make(chan struct{}), parts: make(map[string]*slog.LevelVar),
		changed: make(map[string]bool), followers: make(map[*Follower]struct{}),
	}
	h.lowest.Store(nobody)
	h.part(Core)
	return h
}

// Logger returns the log as the parts write to it.
func (h *Hub) Logger() *slog.Logger {
	return slog.New(&handler{hub: h, level: h.part(Core), out: h.out})
}

// part returns the level of a part, which is known from then on.
func (h *Hub) part(name string) *slog.LevelVar {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.parts[name]
	if !ok {
		v = new(slog.LevelVar)
		v.Set(h.configured)
		h.parts[name] = v
	}
	return v
}

// Configure sets the level of the configuration, which all parts have whose
// level has not been changed by itself.
func (h *Hub) Configure(level slog.Level) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.configured = level
	for name, v := range h.parts {
		if !h.changed[name] {
			v.Set(level)
		}
	}
}

// Levels tells the level of each part.
func (h *Hub) Levels() map[string]slog.Level {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[string]slog.Level, len(h.parts))
	for name, v := range h.parts {
		out[name] = v.Level()
	}
	return out
}

// Set changes the level of the parts with the names, or of all if there are
// none. It is false if there is no part of a name.
func (h *Hub) Set(level slog.Level, names ...string) bool {
	return h.change(names, func(name string, v *slog.LevelVar) {
		v.Set(level)
		h.changed[name] = true
	})
}

// Reset gives parts the configured level again.
func (h *Hub) Reset(names ...string) bool {
	return h.change(names, func(name string, v *slog.LevelVar) {
		v.Set(h.configured)
		delete(h.changed, name)
	})
}

func (h *Hub) change(names []string, apply func(name string, v *slog.LevelVar)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(h.parts))
	}
	for _, name := range names {
		if h.parts[name] == nil {
			return false
		}
	}
	for _, name := range names {
		apply(name, h.parts[name])
	}
	return true
}

// handler writes the records of one part.
type handler struct {
	hub   *Hub
	level *slog.LevelVar
	out   slog.Handler
	// derive makes of a follower's handler what was made of out.
	derive []func(slog.Handler) slog.Handler
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level() || int64(level) >= h.hub.lowest.Load()
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if int64(r.Level) >= h.hub.lowest.Load() {
		h.hub.show(ctx, h.derive, r)
	}
	if r.Level < h.level.Level() {
		return nil
	}
	return h.out.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := h.with(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
	for _, a := range attrs {
		if a.Key == Part && a.Value.Kind() == slog.KindString {
			next.level = h.hub.part(a.Value.String())
		}
	}
	return next
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *handler) with(derive func(slog.Handler) slog.Handler) *handler {
	return &handler{hub: h.hub, level: h.level, out: derive(h.out), derive: append(slices.Clip(h.derive), derive)}
}
