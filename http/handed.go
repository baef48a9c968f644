package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// Forwarded answers what other nodes hand on. Whoever mounts it lets nodes of
// the cluster in and nobody else: they say who the client is.
func Forwarded(cfg Config) http.Handler {
	s := complete(cfg)
	// The node that was asked has done what is about its listener.
	s.Headers, s.Observe, s.OpenMetrics = nil, nil, false
	return &leaderSide{server: s, dispatch: s.dispatch(), running: make(map[string]chan struct{})}
}

// NotReady answers what is handed on to a node that has just been started, and has
// nothing yet that could do it.
func NotReady(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set(fateHeader, fateNot)
	w.WriteHeader(http.StatusServiceUnavailable)
}

// leaderSide is where handed requests are executed.
type leaderSide struct {
	*server
	dispatch handlerFunc

	mu sync.Mutex
	// running are the requests under way, by id: one that is handed on again waits
	// for its earlier run, which it would otherwise overtake.
	running map[string]chan struct{}
}

func (l *leaderSide) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, body, err := unframe(r.Body, l.MaxBody)
	if err == nil && h.ID == nil {
		err = errors.New("http: a request without an id")
	}
	var target *url.URL
	if err == nil {
		target, err = url.ParseRequestURI(h.Target)
	}
	if err != nil {
		l.Logger.Warn("another node handed on what is no request", "error", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	start := time.Now()
	// It goes on if the node that asks goes away: it would be asked for again.
	ctx := &deadline{Context: context.WithoutCancel(r.Context()), at: start.Add(min(h.Wait, l.MaxDuration))}
	defer ctx.end()
	inner := &http.Request{Method: h.Method, URL: target, RequestURI: h.Target, Header: h.Header, RemoteAddr: h.Addr.String(), Body: http.NoBody}
	if inner.Header == nil {
		inner.Header = make(http.Header)
	}
	req := &request{Request: inner.WithContext(ctx), id: h.RequestID, body: body, handed: h} //nolint:contextcheck // see above
	defer l.InFlight.begin(req, start).end(req)
	if l.enter(ctx, string(h.ID)) { //nolint:contextcheck // see above
		defer l.leave(string(h.ID))
		l.execute(ctx, w, req) //nolint:contextcheck // see above
		return
	}
	w.Header().Set(fateHeader, fateMaybe)
	l.fail(w, req, unreached(true, ctx.Err()))
}

// enter waits until no other run of the request is under way.
func (l *leaderSide) enter(ctx context.Context, id string) bool {
	for {
		l.mu.Lock()
		before, busy := l.running[id]
		if !busy {
			l.running[id] = make(chan struct{})
		}
		l.mu.Unlock()
		if !busy {
			return true
		}
		select {
		case <-before:
		case <-ctx.Done():
			return false
		}
	}
}

func (l *leaderSide) leave(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.running[id])
	delete(l.running, id)
}

func (l *leaderSide) execute(ctx context.Context, w http.ResponseWriter, r *request) {
	defer func() {
		if cause := recover(); cause != nil {
			l.Logger.Error("a request panicked", "request_id", r.id, "type", typeName(cause), "stack", stack())
			l.fail(w, r, engines.Internal(nil))
		}
	}()
	if l.Peers != nil && !l.Peers.Leads() || l.Core.Unsealed() == nil {
		w.Header().Set(fateHeader, fateNot)
		l.fail(w, r, unreached(false, nil))
		return
	}
	resp, err := l.dispatch(ctx, r)
	if err == nil {
		l.respond(ctx, w, r, resp)
		return
	}
	switch {
	case errors.Is(err, core.ErrElsewhere), errors.Is(err, state.ErrNotLeader):
		w.Header().Set(fateHeader, fateNot)
	case errors.Is(err, state.ErrUnknownOutcome), errors.Is(err, seal.ErrSealed):
		w.Header().Set(fateHeader, fateMaybe)
	}
	l.fail(w, r, err)
}
