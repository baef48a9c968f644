package httpapi

import (
	"context"
	"net/http"
	"net/http/pprof"
	"net/url"
	"strconv"
	"time"

	"github.com/coffer-secrets/coffer/core/logs"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

const (
	// recheck is how often somebody who follows the log has to be allowed to.
	recheck = 10 * time.Second
	// writeWait is how long one line may take to be sent.
	writeWait = 10 * time.Second
	// maxProfile bounds how long a profile may take.
	maxProfile = 60
)

// stream writes an answer bit by bit.
type stream func(ctx context.Context, w http.ResponseWriter)

// query decodes a read's query by the fields of its route.
func (r *request) query() (engines.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return engines.Values{}, engines.Invalidf("the query string is malformed")
	}
	out, _, err := schema.Decode(r.route, engines.Read, nil, values, nil)
	return out, err
}

// monitor shows the node's log as it is written, until the client goes away or
// may not see it any more.
func (s *server) monitor(_ context.Context, r *request) (*response, error) {
	hub := s.Core.Logs()
	if hub == nil {
		return nil, engines.Errorf(engines.KindNotFound, "this node does not show its log")
	}
	v, err := r.query()
	if err != nil {
		return nil, err
	}
	level, _ := logs.Level(v.String("log_level"))
	follower, err := hub.Follow(level, v.String("log_format") == "json")
	if err != nil {
		return nil, engines.Errorf(engines.KindRateLimited, "too many follow the log already")
	}
	return &response{contentType: "text/plain; charset=utf-8", stream: func(_ context.Context, w http.ResponseWriter) {
		defer hub.Leave(follower)
		s.follow(r, hub, follower, w) //nolint:contextcheck // it goes on for longer than a request may, until the client leaves
	}}, nil
}

// follow goes on for longer than a request may otherwise take.
func (s *server) follow(r *request, hub *logs.Hub, follower *logs.Follower, w http.ResponseWriter) {
	ctx := r.Context()
	out := http.NewResponseController(w)
	if out.Flush() != nil {
		return
	}
	check := time.NewTicker(recheck)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hub.Closed():
			return
		case <-check.C:
			if s.authorised(ctx, r) != nil {
				return
			}
		case line := <-follower.Lines():
			_ = out.SetWriteDeadline(time.Now().Add(writeWait)) // not every writer has one
			if _, err := w.Write(line); err != nil || out.Flush() != nil {
				return
			}
		}
	}
}

// profile answers as one of net/http/pprof's handlers does, for a bounded time.
func profile(h http.HandlerFunc) handlerFunc {
	return func(_ context.Context, r *request) (*response, error) {
		if text := r.URL.Query().Get("seconds"); text != "" {
			if n, err := strconv.Atoi(text); err != nil || n < 0 || n > maxProfile {
				return nil, engines.Invalidf("seconds: expected a number up to %d", maxProfile)
			}
		}
		return &response{stream: func(ctx context.Context, w http.ResponseWriter) { h(w, r.WithContext(ctx)) }}, nil
	}
}

// profiles are sys/pprof/* for those who may.
func (s *server) profiles(list map[string]map[string]handlerFunc) {
	add := func(name string, h http.HandlerFunc) {
		list["sys/pprof"+name] = map[string]handlerFunc{http.MethodGet: s.guarded(profile(h))}
	}
	add("", pprof.Index)
	add("/cmdline", pprof.Cmdline)
	add("/profile", pprof.Profile)
	add("/symbol", pprof.Symbol)
	add("/trace", pprof.Trace)
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		add("/"+name, pprof.Handler(name).ServeHTTP)
	}
}
