package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/engines"
)

// Defaults of a listener.
const (
	DefaultMaxBody     = 32 << 20
	DefaultMaxDuration = 90 * time.Second
	// DefaultHold covers an election many times over.
	DefaultHold = 30 * time.Second
)

// Config is what a listener's handler is made of.
type Config struct {
	Core   *core.Core
	Logger *slog.Logger
	// MaxBody bounds a request's body in bytes, MaxDuration its time.
	MaxBody     int64
	MaxDuration time.Duration
	// Proxies are the peers whose X-Forwarded-For is believed.
	Proxies Proxies
	// OpenMetrics answers sys/metrics without a token.
	OpenMetrics bool
	// Metrics returns the node's metrics as text, for OpenMetrics.
	Metrics func() (body []byte, contentType string, err error)
	// Profiling answers sys/pprof without a token.
	Profiling bool
	// Headers are added to every answer.
	Headers map[string]string
	// InFlight are the requests under way, for sys/in-flight-req; the listener's
	// own if nil.
	InFlight *InFlight
	// Peers are the other nodes of the cluster; nil: this node answers all by
	// itself.
	Peers Peers
	// Hold is how long a request may wait for a leader; DefaultHold if 0.
	Hold time.Duration
	// Observe, if set, is told of every answer.
	Observe func(op string, status int, took time.Duration)
}

// server answers requests for one listener.
type server struct{ Config }

// handlerFunc is one thing that can be asked for, before the adapter.
type handlerFunc func(ctx context.Context, r *request) (*response, error)

// complete fills in what the configuration leaves out.
func complete(cfg Config) *server {
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	if cfg.MaxDuration <= 0 {
		cfg.MaxDuration = DefaultMaxDuration
	}
	if cfg.Hold <= 0 {
		cfg.Hold = DefaultHold
	}
	if cfg.InFlight == nil {
		cfg.InFlight = new(InFlight)
	}
	return &server{cfg}
}

// New returns the handler of a listener.
func New(cfg Config) http.Handler {
	s := complete(cfg)
	router := mux.NewRouter().SkipClean(true)
	dispatch := s.dispatch()
	api := s.adapt(dispatch)
	if s.Profiling {
		s.profiling(router.PathPrefix("/v1/").Subrouter())
	}
	router.PathPrefix("/v1/").Handler(api)
	router.Path(signInPath).Handler(s.adapt((&signIn{s, dispatch}).handle))
	router.NotFoundHandler = s.adapt(func(context.Context, *request) (*response, error) {
		return nil, &engines.Error{Kind: engines.KindNotFound, Message: "the API is below /v1/"}
	})
	if s.Profiling {
		return router
	}
	return straight{api: api, others: router}
}

// straight takes the API past the router, whose one route it is: matching it and
// copying the request for it cost a tenth of a read.
type straight struct{ api, others http.Handler }

func (d straight) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		d.api.ServeHTTP(w, r)
		return
	}
	d.others.ServeHTTP(w, r)
}

// dispatch answers what a sealed node answers too, and hands the rest to the
// core. It is one route with a map, since mux tries its routes one by one.
func (s *server) dispatch() handlerFunc {
	own := make(map[string]handlerFunc)
	known := directRoutes()
	for path, methods := range s.routes() {
		h, route := byMethod(methods), known[path]
		if ofLeader(path) {
			h = s.byLeader(h)
		}
		own["/v1/"+path] = func(ctx context.Context, r *request) (*response, error) {
			r.route = route
			return h(ctx, r)
		}
	}
	return func(ctx context.Context, r *request) (*response, error) {
		if h, ok := own[r.URL.Path]; ok && !asksHelp(r) {
			return h(ctx, r)
		}
		return s.forward(ctx, r)
	}
}

// asksHelp reports whether a request is for the help of its path, which only
// the core gives.
func asksHelp(r *request) bool {
	return r.Method == http.MethodGet && r.URL.RawQuery != "" && flag(r.URL.Query(), "help")
}

// byMethod answers 405 for methods that a path does not have.
func byMethod(methods map[string]handlerFunc) handlerFunc {
	return func(ctx context.Context, r *request) (*response, error) {
		method := r.Method
		if method == http.MethodPost {
			method = http.MethodPut
		}
		if h, ok := methods[method]; ok {
			return h(ctx, r)
		}
		return nil, engines.Errorf(engines.KindMethod, "method %s is not allowed here", clip(r.Method))
	}
}

// request is a request under way.
type request struct {
	*http.Request
	id   string
	body []byte
	// out is where the answer goes; handlers leave it alone but for its limits.
	out http.ResponseWriter
	// route is that of a path which is answered past the core's transactions.
	route *engines.Route
	// handed is what another node tells of a request that it hands on; nil if this
	// node was asked.
	handed *handed
}

// adapt is the one adapter: every request goes through it, whatever it asks for.
func (s *server) adapt(h handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		req := &request{Request: r, id: newRequestID(), out: w}
		ctx := &deadline{Context: r.Context(), at: start.Add(s.MaxDuration)}
		defer ctx.end()
		defer s.InFlight.begin(req, start).end(req)
		status := s.serve(ctx, w, req, h) //nolint:contextcheck // it is the request's, with an end
		if s.Observe != nil {
			s.Observe(r.Method, status, time.Since(start))
		}
	})
}

func (s *server) serve(ctx context.Context, w http.ResponseWriter, req *request, h handlerFunc) (status int) {
	defer func() {
		if cause := recover(); cause != nil {
			if cause == http.ErrAbortHandler { //nolint:errorlint,err113 // it is panicked with as it is
				panic(cause)
			}
			// The value may hold what the caller sent: only its type is told.
			s.Logger.Error("a request panicked", "request_id", req.id, "type", typeName(cause), "stack", stack())
			status = s.fail(w, req, engines.Internal(nil))
		}
	}()
	for name, value := range s.Headers {
		w.Header().Set(name, value)
	}
	if done, status := s.applyCORS(ctx, w, req); done {
		return status
	}
	if !streamed(req.Request) {
		if err := s.readBody(w, req); err != nil {
			return s.fail(w, req, err)
		}
	}
	resp, err := h(ctx, req)
	if err != nil {
		return s.fail(w, req, err)
	}
	return s.respond(ctx, w, req, resp)
}

// readBody reads a bounded body.
func (s *server) readBody(w http.ResponseWriter, r *request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > s.MaxBody {
		return s.tooLarge()
	}
	limited := http.MaxBytesReader(w, r.Body, s.MaxBody)
	var err error
	if n := r.ContentLength; n > 0 && n <= trustedLength {
		r.body = make([]byte, n)
		_, err = io.ReadFull(limited, r.body)
	} else {
		r.body, err = io.ReadAll(limited)
	}
	if err == nil {
		r.body, err = unform(r.Header.Get("Content-Type"), r.body)
		return err
	}
	return s.bodyError(err)
}

// trustedLength is up to which length of a body memory is taken before it came.
const trustedLength = 64 << 10

func (s *server) tooLarge() error {
	return engines.Errorf(engines.KindTooLarge, "the request's body is larger than the limit of %d bytes", s.MaxBody)
}

func (s *server) bodyError(err error) error {
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &over):
		return s.tooLarge()
	}
	return engines.Invalidf("the request's body ended early")
}

// newRequestID makes a random UUID (RFC 9562, version 4).
func newRequestID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[:8], id[:4])
	hex.Encode(out[9:13], id[4:6])
	hex.Encode(out[14:18], id[6:8])
	hex.Encode(out[19:23], id[8:10])
	hex.Encode(out[24:], id[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// clip keeps what a caller sent from filling an answer.
func clip(text string) string {
	const most = 32
	if len(text) > most {
		return text[:most]
	}
	return text
}
